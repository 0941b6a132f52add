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

impl Doubt {
    /// Bytes of the allocator that no part of the heap stands for.
    #[must_use]
    pub const fn unread_bytes(&self) -> u64 {
        match *self {
            Self::Arena(bytes) | Self::Elsewhere(bytes) => bytes,
            Self::Mapped { counted_bytes, found_bytes, .. } => {
                counted_bytes.saturating_sub(found_bytes)
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_found_is_unread() {
        let mapped = Doubt::Mapped {
            counted: 3,
            counted_bytes: 300,
            found: 2,
            found_bytes: 200,
            is_changing: false,
        };
        let doubts = [Doubt::Arena(5), Doubt::Elsewhere(7), mapped, Doubt::Unknown(9)];
        assert_eq!(doubts.map(|doubt| doubt.unread_bytes()), [5, 7, 100, 0]);
    }
}
