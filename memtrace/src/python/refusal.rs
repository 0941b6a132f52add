//! Why an interpreter, or the C library under it, cannot be traced.

use std::{error, fmt};

use super::Version;

/// A reason to trace a process without its Python frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The file runs Python, but nothing in it tells which.
    UnknownVersion,
    /// Outside 3.8 to 3.14.
    Version(Version),
    /// An alpha or a beta: layouts settle with the first release candidate.
    Prerelease(Version),
    /// Built without the global interpreter lock: objects are laid out differently.
    FreeThreaded(Version),
    /// A symbol or table that every interpreter of this version has is missing or unusable.
    Incomplete(&'static str),
    /// The C library is not glibc, so thread-specific data is kept elsewhere.
    CLibrary,
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownVersion => write!(formatter, "Python of an unknown version"),
            Self::Version(version) => {
                write!(formatter, "Python {version} is not supported, only 3.8 to 3.14 are")
            }
            Self::Prerelease(version) => {
                write!(formatter, "Python {version} is a pre-release: its layouts were not final")
            }
            Self::FreeThreaded(version) => {
                write!(formatter, "Python {version} is a free-threaded build")
            }
            Self::Incomplete(what) => write!(formatter, "Python without a usable {what}"),
            Self::CLibrary => {
                write!(formatter, "the C library is not glibc: Python's frames cannot be read")
            }
        }
    }
}

impl error::Error for Refusal {}
