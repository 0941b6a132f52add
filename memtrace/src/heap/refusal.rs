//! Why a heap cannot be read.

use std::{error, fmt};

use super::layout::{NEWEST, OLDEST, Version};

/// A reason to tell nothing of a heap, rather than something wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No mapped file holds glibc's malloc.
    NoGlibc,
    /// A mapped file holds it, but does not say of which version.
    NoVersion,
    /// The C library is musl.
    Musl,
    /// glibc before 2.28, or newer than what is known.
    Version(Version),
    /// A part of the allocator's data is not in the file, or more than once, as far as can be told.
    Unfound(&'static str),
    /// The program has not used glibc's malloc yet; another allocator may have taken its place.
    Unused,
    /// A part of the allocator's data could not be read from the process.
    Unreadable(&'static str),
    /// A part of the allocator's data contradicts itself.
    Inconsistent(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoGlibc => write!(
                formatter,
                "no mapped file holds glibc's malloc, or its symbols were stripped"
            ),
            Self::NoVersion => write!(
                formatter,
                "glibc is linked into the program, which does not say of which version it is"
            ),
            Self::Musl => write!(formatter, "its C library is musl, whose heap is not known"),
            Self::Version(version) => write!(
                formatter,
                "the heap of glibc {version} is not known, only those of 2.{OLDEST} to 2.{NEWEST}"
            ),
            Self::Unfound(what) => write!(formatter, "{what} cannot be found in the C library"),
            Self::Unused => {
                write!(formatter, "glibc's malloc is not in use; another allocator may be")
            }
            Self::Unreadable(what) => write!(formatter, "{what} cannot be read"),
            Self::Inconsistent(what) => write!(formatter, "{what} contradicts itself"),
        }
    }
}

impl error::Error for Refusal {}
