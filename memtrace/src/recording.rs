//! The `.memtrace` file: a whole profile, readable on another machine. What it reads may come
//! from anywhere, so it is bounded and checked before anyone sees it.
//!
//! Layout: `MEMTRACE`, the version as a little-endian `u32`, then a gzip member that holds the
//! profile's parts in postcard, collections as a count and their elements.

mod validate;

use std::{
    fmt,
    fs::File,
    io::{self, BufReader, BufWriter, IntoInnerError, Read, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Serialize, de::DeserializeOwned};

use crate::profile::{Profile, Timeline};

const MAGIC: [u8; 8] = *b"MEMTRACE";
/// Version of the format that is written and read.
pub const VERSION: u32 = 6;
/// Most bytes that a recording may unpack to; a million deep stacks take a fifth of it.
const MAX_BYTES: u64 = 1 << 30;
/// Most elements of one collection. An element can be 50 times larger in memory than packed.
const MAX_ELEMENTS: u32 = 1 << 24;

/// Why a file cannot be read as a recording.
#[derive(Debug)]
pub enum Unreadable {
    /// It is something else.
    Foreign,
    /// It was written by a memtrace with another format version.
    Version(u32),
    /// It ends early.
    Truncated,
    /// Its contents contradict each other.
    Corrupt(&'static str),
    /// It unpacks to more than memtrace is willing to hold.
    TooLarge,
    /// The operating system refused.
    Io(io::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => write!(f, "not a memtrace recording"),
            Self::Version(version) if *version > VERSION => {
                write!(
                    f,
                    "written by a newer memtrace (format {version}, this one reads {VERSION})"
                )
            }
            Self::Version(version) => {
                write!(f, "unknown format {version} (this memtrace reads {VERSION})")
            }
            Self::Truncated => write!(f, "the file ends early"),
            Self::Corrupt(what) => write!(f, "damaged: {what}"),
            Self::TooLarge => write!(f, "unpacks to more than a recording can hold"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unreadable {}

impl Unreadable {
    /// What helps, as a sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Foreign => "record one: memtrace -o NAME.memtrace --pid PID",
            Self::Version(version) if *version > VERSION => "upgrade memtrace to read it",
            Self::Version(_) => "record it again",
            Self::Truncated => "copy it again from where it was recorded, or record it again",
            Self::Corrupt(_) => "copy it again from where it was recorded",
            Self::TooLarge => "it is damaged, or was not written by memtrace: record it again",
            Self::Io(_) => "check its name and permissions: ls -l",
        }
    }
}

/// Reads the recording at `path`; the error names the file.
pub fn open(path: &Path) -> Result<Profile> {
    let context = || format!("read recording {}", path.display());
    let file = File::open(path).map_err(Unreadable::Io).with_context(context)?;
    read(BufReader::new(file)).with_context(context)
}

/// Reads a recording.
pub fn read(mut from: impl Read) -> Result<Profile, Unreadable> {
    read_header(&mut from)?;
    let unpacked = unpack(from, MAX_BYTES)?;
    let profile = decode(&unpacked)?;
    validate::check(&profile).map_err(Unreadable::Corrupt)?;
    Ok(profile)
}

/// Writes `profile` as a recording.
pub fn write(profile: &Profile, mut to: impl Write) -> Result<()> {
    let context = "write the recording";
    to.write_all(&MAGIC).context(context)?;
    to.write_all(&VERSION.to_le_bytes()).context(context)?;
    // Elements are written a few bytes at a time.
    let mut packed = BufWriter::new(GzEncoder::new(to, Compression::fast()));
    encode(profile, &mut packed).context(context)?;
    let gzip = packed.into_inner().map_err(IntoInnerError::into_error).context(context)?;
    gzip.finish().context(context)?.flush().context(context)
}

fn read_header(from: &mut impl Read) -> Result<(), Unreadable> {
    let mut magic = Vec::new();
    from.take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(Unreadable::Io)?;
    if magic.is_empty() || !MAGIC.starts_with(&magic) {
        return Err(Unreadable::Foreign);
    }
    let mut version = [0; 4];
    from.read_exact(&mut version).map_err(unpack_error)?;
    match u32::from_le_bytes(version) {
        VERSION => Ok(()),
        other => Err(Unreadable::Version(other)),
    }
}

fn unpack(from: impl Read, limit: u64) -> Result<Vec<u8>, Unreadable> {
    let mut unpacked = Vec::new();
    GzDecoder::new(from).take(limit + 1).read_to_end(&mut unpacked).map_err(unpack_error)?;
    if unpacked.len() as u64 > limit { Err(Unreadable::TooLarge) } else { Ok(unpacked) }
}

fn unpack_error(error: io::Error) -> Unreadable {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Unreadable::Truncated,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            Unreadable::Corrupt("its checksum does not match")
        }
        _ => Unreadable::Io(error),
    }
}

fn encode(profile: &Profile, to: &mut impl Write) -> Result<()> {
    postcard::to_io(&profile.session, &mut *to)?;
    encode_all(&profile.processes, to)?;
    encode_all(&profile.frames, to)?;
    encode_all(&profile.stacks, to)?;
    postcard::to_io(&profile.timeline.looks_per_point, &mut *to)?;
    postcard::to_io(&profile.timeline.together, &mut *to)?;
    encode_all(&profile.timeline.points, to)?;
    encode_all(&profile.segments, to)?;
    encode_all(&profile.groups, to)?;
    postcard::to_io(&profile.incident, &mut *to)?;
    encode_all(&profile.losses, to)?;
    encode_all(&profile.notes, to)
}

fn encode_all<T: Serialize>(elements: &[T], to: &mut impl Write) -> Result<()> {
    let count = u32::try_from(elements.len()).ok().filter(|&count| count <= MAX_ELEMENTS);
    postcard::to_io(&count.context("more elements than a recording can hold")?, &mut *to)?;
    for element in elements {
        postcard::to_io(element, &mut *to)?;
    }
    Ok(())
}

fn decode(mut bytes: &[u8]) -> Result<Profile, Unreadable> {
    let from = &mut bytes;
    let profile = Profile {
        session: decode_one(from)?,
        processes: decode_all(from)?,
        frames: decode_all(from)?,
        stacks: decode_all(from)?,
        timeline: Timeline {
            looks_per_point: decode_one(from)?,
            together: decode_one(from)?,
            points: decode_all(from)?,
        },
        segments: decode_all(from)?,
        groups: decode_all(from)?,
        incident: decode_one(from)?,
        losses: decode_all(from)?,
        notes: decode_all(from)?,
    };
    if from.is_empty() { Ok(profile) } else { Err(Unreadable::Corrupt("bytes are left over")) }
}

fn decode_one<T: DeserializeOwned>(from: &mut &[u8]) -> Result<T, Unreadable> {
    let (element, rest) = postcard::take_from_bytes(from)
        .map_err(|_| Unreadable::Corrupt("an element cannot be decoded"))?;
    *from = rest;
    Ok(element)
}

fn decode_all<T: DeserializeOwned>(from: &mut &[u8]) -> Result<Vec<T>, Unreadable> {
    let count: u32 = decode_one(from)?;
    if count > MAX_ELEMENTS {
        return Err(Unreadable::TooLarge);
    }
    // No capacity is reserved: the count may be a lie, each element has bytes to show for it.
    (0..count).map(|_| decode_one(from)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        profile::{Amount, Stack, View, example},
        report::{self, Format},
    };

    fn recording(profile: &Profile) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(profile, &mut bytes).unwrap();
        bytes
    }

    /// A recording with a right checksum around `unpacked`.
    fn pack(unpacked: &[u8]) -> Vec<u8> {
        let mut bytes = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
        let mut gzip = GzEncoder::new(&mut bytes, Compression::fast());
        gzip.write_all(unpacked).unwrap();
        gzip.finish().unwrap();
        bytes
    }

    fn unpacked(profile: &Profile) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(profile, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_profile_survives_the_file() {
        let profile = example::profile();
        assert_eq!(read(&*recording(&profile)).unwrap(), profile);
        assert_eq!(read(&*recording(&Profile::default())).unwrap(), Profile::default());
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = recording(&example::profile());
        for length in 1..bytes.len() {
            let error = read(&bytes[..length]).unwrap_err();
            assert!(matches!(error, Unreadable::Truncated), "{length}: {error}");
        }
    }

    #[test]
    fn foreign_and_newer_files_are_told_apart() {
        assert!(matches!(read(&b""[..]), Err(Unreadable::Foreign)));
        assert!(matches!(read(&b"<?xml version"[..]), Err(Unreadable::Foreign)));
        let newer = [&MAGIC[..], &9_u32.to_le_bytes()].concat();
        let error = read(&*newer).unwrap_err().to_string();
        assert!(error.starts_with("written by a newer memtrace (format 9"), "{error}");
    }

    #[test]
    fn the_error_names_the_file_in_one_line() {
        let file = tempfile::NamedTempFile::with_suffix(".memtrace").unwrap();
        std::fs::write(file.path(), "PK").unwrap();
        let error = format!("{:#}", open(file.path()).unwrap_err());
        assert!(error.contains(&*file.path().to_string_lossy()), "{error}");
        assert!(error.contains("not a memtrace recording") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn contradictions_are_noticed() {
        let corruption = |process, frames, bytes| {
            let mut profile = example::profile();
            let mut stack = Stack { process, frames, ..profile.stacks[0].clone() };
            stack.amounts.live = Amount { bytes, objects: 1 };
            profile.stacks.push(stack);
            read(&*recording(&profile)).unwrap_err().to_string()
        };
        assert!(corruption(2, vec![], 1).contains("no process"));
        assert!(corruption(0, vec![1_000], 1).contains("unknown frame"));
        assert!(corruption(0, vec![0; 20_000], 1).contains("too deep"));
        assert!(corruption(0, vec![], u64::MAX).contains("more than memory can hold"));
        let leftover = [unpacked(&example::profile()), vec![0]].concat();
        assert!(matches!(read(&*pack(&leftover)), Err(Unreadable::Corrupt("bytes are left over"))));
    }

    #[test]
    fn absurd_sizes_are_refused_without_reserving_them() {
        let session = postcard::to_stdvec(&Profile::default().session).unwrap();
        let claim = |count: u32| {
            let count = postcard::to_stdvec(&count).unwrap();
            read(&*pack(&[session.clone(), count].concat())).unwrap_err()
        };
        assert!(matches!(claim(MAX_ELEMENTS), Unreadable::Corrupt(_)));
        assert!(matches!(claim(u32::MAX), Unreadable::TooLarge));
    }

    #[test]
    fn a_bomb_is_defused() {
        let packed = pack(&[0; 1_001]);
        let gzip = &packed[MAGIC.len() + 4..];
        assert!(matches!(unpack(gzip, 1_000), Err(Unreadable::TooLarge)));
        assert_eq!(unpack(gzip, 1_001).unwrap().len(), 1_001);
    }

    proptest! {
        #[test]
        fn damage_is_noticed(at in any::<prop::sample::Index>(), change in 1_u8..) {
            let profile = example::profile();
            let mut bytes = recording(&profile);
            *at.get_mut(&mut bytes) ^= change;
            // Some bits of the gzip format mean nothing.
            prop_assert!(read(&*bytes).map_or(true, |read| read == profile));
        }

        #[test]
        fn forged_contents_never_panic(
            forgeries in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
        ) {
            let mut bytes = unpacked(&example::profile());
            for (at, to) in forgeries {
                *at.get_mut(&mut bytes) = to;
            }
            if let Ok(profile) = read(&*pack(&bytes)) {
                for format in Format::ALL {
                    report::write(&profile, View::Peak, format, io::sink()).unwrap();
                }
            }
        }
    }
}
