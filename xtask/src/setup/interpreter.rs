//! The Python interpreters of this machine that memtrace supports.

use std::{
    collections::BTreeSet,
    env, fmt, fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// Minor versions of Python 3 that memtrace reads.
const SUPPORTED: RangeInclusive<u32> = 8..=14;

/// Prints: implementation, major, minor, full version, linking, threading, path.
const PROBE: &str = "\
import sys, sysconfig
maps = open('/proc/self/maps').read()
print(sys.implementation.name, *sys.version_info[:2], '%d.%d.%d' % sys.version_info[:3],
      'shared' if 'libpython' in maps else 'static',
      'free' if sysconfig.get_config_var('Py_GIL_DISABLED') else 'gil',
      getattr(sys, '_base_executable', sys.executable))";

/// One installed CPython; shown as "CPython 3.11.7 (shared)".
#[derive(Clone, Debug, PartialEq)]
pub struct Interpreter {
    /// The program itself, never a shim or a virtual environment's link.
    pub path: PathBuf,
    /// "3.11.7".
    pub version: String,
    /// 11 of 3.11.
    pub minor: u32,
    /// Whether the interpreter's code is in libpython rather than in the program.
    pub shared: bool,
}

impl Interpreter {
    /// The `python3` of this user, or else the first supported one.
    pub fn usual() -> Result<Self> {
        candidates().iter().find_map(|path| probe(path)).with_context(|| {
            format!(
                "no CPython 3.{} to 3.{} found\nhint: sudo apt-get install -y python3 python3-venv python3-pip",
                SUPPORTED.start(),
                SUPPORTED.end()
            )
        })
    }

    /// One interpreter for each minor version and kind of linking, apart from those like `usual`.
    pub fn others(usual: &Self) -> Vec<Self> {
        let mut kinds = BTreeSet::from([usual.kind()]);
        let mut found: Vec<Self> = candidates().iter().filter_map(|path| probe(path)).collect();
        found.retain(|interpreter| kinds.insert(interpreter.kind()));
        found.sort_by_key(|interpreter| (interpreter.minor, interpreter.shared));
        found
    }

    /// "3.11-shared": what two interpreters must not share to be worth testing both.
    pub fn kind(&self) -> String {
        format!("3.{}-{}", self.minor, self.linking())
    }

    fn linking(&self) -> &'static str {
        if self.shared { "shared" } else { "static" }
    }
}

impl fmt::Display for Interpreter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CPython {} ({})", self.version, self.linking())
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("python3"), PathBuf::from("/usr/bin/python3")];
    for directory in ["/usr/bin", "/usr/local/bin"] {
        paths.extend(SUPPORTED.map(|minor| Path::new(directory).join(format!("python3.{minor}"))));
    }
    paths.extend(pyenv_pythons().unwrap_or_default());
    paths
}

fn pyenv_pythons() -> Option<Vec<PathBuf>> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")))?;
    let versions = fs::read_dir(root.join("versions")).ok()?;
    let mut paths: Vec<PathBuf> =
        versions.flatten().map(|version| version.path().join("bin/python3")).collect();
    paths.sort();
    Some(paths)
}

fn probe(path: &Path) -> Option<Interpreter> {
    parse(&command::answer(Command::new(path).args(["-I", "-c", PROBE]))?)
}

fn parse(answer: &str) -> Option<Interpreter> {
    let mut words = answer.splitn(7, ' ');
    let (implementation, major) = (words.next()?, words.next()?);
    let minor = words.next()?.parse().ok()?;
    let version = words.next()?.to_owned();
    let shared = words.next()? == "shared";
    // Free-threaded builds have other layouts.
    let free_threaded = words.next()? == "free";
    let path = PathBuf::from(words.next()?);
    let supported = implementation == "cpython" && major == "3" && SUPPORTED.contains(&minor);
    (supported && !free_threaded).then_some(Interpreter { path, version, minor, shared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supported_interpreter_is_known_by_version_and_linking() {
        let found = parse("cpython 3 11 3.11.7 shared gil /opt/my python/bin/python3").unwrap();
        assert_eq!(found.kind(), "3.11-shared");
        assert_eq!(found.path, Path::new("/opt/my python/bin/python3"));
    }

    #[test]
    fn unsupported_interpreters_are_passed_over() {
        assert_eq!(parse("cpython 3 7 3.7.16 shared gil /usr/bin/python3"), None);
        assert_eq!(parse("cpython 3 13 3.13.0 shared free /usr/bin/python3"), None);
        assert_eq!(parse("pypy 3 10 3.10.1 shared gil /usr/bin/pypy3"), None);
        assert_eq!(parse("cpython 2 7 2.7.18 shared gil None"), None);
        assert_eq!(parse(""), None);
    }
}
