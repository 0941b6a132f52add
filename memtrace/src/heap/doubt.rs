//! What of a heap may be wrong or missing.

use std::time::Duration;

/// What may be wrong or missing. Sizes are bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The list of arenas could not be followed to its end.
    Arenas,
    /// Nothing of an arena of this size could be read.
    Arena(u64),
    /// So much of the main arena is elsewhere, where it cannot be found: `brk` could not give it.
    Elsewhere(u64),
    /// So much of the arenas could not be read without a contradiction, or without too long a list of
    /// chunks.
    Unknown(u64),
    /// The fastbins of so many arenas changed while they were read, or are too long.
    Fast(usize),
    /// The caches of so many threads changed while they were read, or are too long.
    Caches(usize),
    /// Not all of the chunks with mappings of their own were found, or too many.
    Mapped {
        /// How many malloc counts.
        counted: u64,
        /// Their bytes.
        counted_bytes: u64,
        /// How many were found.
        found: u64,
        /// Their bytes.
        found_bytes: u64,
        /// Whether malloc counts otherwise by now.
        is_changing: bool,
    },
    /// Reading was ended after this time; there was more.
    Late(Duration),
}
