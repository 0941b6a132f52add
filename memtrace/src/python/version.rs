//! Which Python a file holds: from the `Py_Version` constant, else from its name and the strings
//! in it.

use std::fmt;

use super::{Refusal, elf::Elf};
use memtrace_abi::mapping::Range;

/// Release levels of `sys.version_info`, as in `Include/patchlevel.h`.
const CANDIDATE: u8 = 0xc;
const FINAL: u8 = 0xf;

/// A Python release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// 3.
    pub major: u8,
    /// 11 for 3.11.
    pub minor: u8,
    /// 7 for 3.11.7; 0 when the file does not tell.
    pub patch: u8,
    level: u8,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    /// The version of the interpreter in the file, which is one of that name.
    pub(super) fn find(elf: &Elf<'_>, file_name: &str) -> Option<Self> {
        exported(elf).or_else(|| {
            let name = file_name.rsplit('/').next().and_then(from_file_name);
            let mut strings = elf.section(".rodata").into_iter().flat_map(strings);
            match name {
                Some(name) => strings.find(|found| found.same_layouts(name)).or(Some(name)),
                None => strings.find(|found| found.is_before_the_constant()),
            }
        })
    }

    /// Refuses what memtrace has no layouts for.
    pub(super) fn check(self) -> Result<Self, Refusal> {
        match (self.major, self.minor) {
            (3, 8..=14) if self.level >= CANDIDATE => Ok(self),
            (3, 8..=14) => Err(Refusal::Prerelease(self)),
            _ => Err(Refusal::Version(self)),
        }
    }

    fn same_layouts(self, other: Self) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }

    /// `Py_Version` came with 3.11; before, a string is all there is. The range keeps out other
    /// libraries' versions.
    fn is_before_the_constant(self) -> bool {
        matches!((self.major, self.minor), (2, 7) | (3, 6..=10))
    }
}

/// `Py_Version`, laid out like `PY_VERSION_HEX`.
fn exported(elf: &Elf<'_>) -> Option<Version> {
    let start = elf.symbol("Py_Version")?.start;
    let bytes = elf.read(Range { start, end: start.checked_add(4)? })?;
    let [serial_and_level, patch, minor, major] = bytes.try_into().ok()?;
    Some(Version { major, minor, patch, level: serial_and_level >> 4 })
}

/// The version in `libpython3.10.so.1.0` or `python3.10`.
fn from_file_name(name: &str) -> Option<Version> {
    let (_, version) = name.split_once("python")?;
    let (major, rest) = number(version)?;
    let (minor, _) = number(rest.strip_prefix('.')?)?;
    Some(Version { major, minor, patch: 0, level: FINAL })
}

/// Whether the name is that of a free-threaded build: `libpython3.13t.so.1.0`, `python3.14td`.
pub fn names_free_threaded(file_name: &str) -> bool {
    let name = file_name.rsplit('/').next().unwrap_or_default();
    name.split_once("python")
        .map(|(_, version)| version.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'))
        .is_some_and(|flags| flags.starts_with('t'))
}

/// Versions among the NUL-terminated strings, also behind the last slash: linkers merge a string
/// into a longer one's end, and `/opt/python/3.9.18` is a common prefix.
fn strings(bytes: &[u8]) -> impl Iterator<Item = Version> {
    bytes.split(|byte| *byte == 0).filter_map(|string| {
        let name = string.rsplit(|byte| *byte == b'/').next()?;
        (name.len() < 16).then(|| from_string(name))?
    })
}

/// `PY_VERSION`: `3.10.13`, `3.9.0rc1`, `3.8.2+`.
fn from_string(string: &[u8]) -> Option<Version> {
    let (major, rest) = number(str::from_utf8(string).ok()?)?;
    let (minor, rest) = number(rest.strip_prefix('.')?)?;
    let (patch, rest) = number(rest.strip_prefix('.')?)?;
    let level = match rest.trim_end_matches('+').trim_end_matches(|c: char| c.is_ascii_digit()) {
        "" => FINAL,
        "rc" => CANDIDATE,
        "a" | "b" => 0,
        _ => return None,
    };
    Some(Version { major, minor, patch, level })
}

fn number(text: &str) -> Option<(u8, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u8, minor: u8, patch: u8, level: u8) -> Version {
        Version { major, minor, patch, level }
    }

    #[test]
    fn file_names_tell_the_minor_version() {
        assert_eq!(from_file_name("libpython3.10.so.1.0"), Some(version(3, 10, 0, FINAL)));
        assert_eq!(from_file_name("python3.8"), Some(version(3, 8, 0, FINAL)));
        assert_eq!(from_file_name("python3"), None);
        assert_eq!(from_file_name("uwsgi"), None);
    }

    #[test]
    fn free_threaded_names_are_told_apart() {
        assert!(names_free_threaded("/opt/lib/libpython3.13t.so.1.0"));
        assert!(names_free_threaded("python3.14td"));
        assert!(!names_free_threaded("libpython3.13.so.1.0"));
        assert!(!names_free_threaded("/home/t/python3.14d"));
    }

    #[test]
    fn strings_tell_the_release() {
        let found: Vec<_> =
            strings(b"\x001.2.13\0/opt/3.10.13\x003.9.0rc1\x003.8.2+\x003.9.x\x003.10.0b2\0")
                .collect();
        let expected = [
            version(1, 2, 13, FINAL),
            version(3, 10, 13, FINAL),
            version(3, 9, 0, CANDIDATE),
            version(3, 8, 2, FINAL),
            version(3, 10, 0, 0),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_settled_layouts_of_known_versions_pass() {
        assert!(version(3, 8, 0, FINAL).check().is_ok());
        assert!(version(3, 14, 0, CANDIDATE).check().is_ok());
        let alpha = version(3, 14, 0, 0xa);
        assert_eq!(alpha.check(), Err(Refusal::Prerelease(alpha)));
        for minor in [7, 15] {
            let outside = version(3, minor, 1, FINAL);
            assert_eq!(outside.check(), Err(Refusal::Version(outside)));
        }
    }
}
