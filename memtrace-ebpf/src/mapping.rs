//! Where a process has mapped which object, and where that object's rows are.

use crate::crosses_the_boundary;

/// An executable mapping. A process's mappings are one sorted run of the mappings array.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind the mapping.
    pub end: u64,
    /// Add this (wrapping) to an address in the process to get the address in the object.
    pub bias: u64,
    /// The object's number.
    pub object: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}
crosses_the_boundary!(Mapping, 32);

/// An object's unwind table: a run of the pages array, one entry for each 64 KiB of addresses.
///
/// Entry `i` of the run is the index of the first row at or above page `first_page + i`; one more
/// entry behind the last page ends the rows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Table {
    /// Where the run starts in the pages array.
    pub pages: u32,
    /// Pages in the run; 0 when the object has no table.
    pub page_count: u32,
    /// Address of the object's first page, divided by 64 KiB.
    pub first_page: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}
crosses_the_boundary!(Table, 16);

/// Where the mappings of a process are in the mappings array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Index of the first one.
    pub first: u16,
    /// How many there are.
    pub length: u16,
}

impl Run {
    /// In one word, so that a program sees either the old run or the new one. A place in the array is
    /// used again at some time, a `number` is not; none is 0, and the word 0 says that nothing is known.
    #[must_use]
    pub const fn pack(self, number: u32) -> u64 {
        (number as u64) << 32 | (self.first as u64) << 16 | self.length as u64
    }

    /// The run that was packed.
    #[must_use]
    pub const fn unpack(word: u64) -> Self {
        Self { first: (word >> 16) as u16, length: word as u16 }
    }
}

/// Mappings of one process are searched in at most this many halvings.
pub const SEARCH_STEPS: u32 = 13;

/// Addresses from `start` up to, but not including, `end`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Range {
    /// First address.
    pub start: u64,
    /// First address behind.
    pub end: u64,
}
crosses_the_boundary!(Range, 16);

impl Range {
    /// Whether the address lies within.
    #[must_use]
    pub const fn contains(self, address: u64) -> bool {
        self.start <= address && address < self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_comes_back_from_its_word_and_no_other_has_the_word() {
        for run in [Run { first: 0, length: 1 }, Run { first: u16::MAX, length: u16::MAX }] {
            assert_eq!(Run::unpack(run.pack(7)), run);
            assert_ne!(run.pack(7), run.pack(8));
            assert_ne!(run.pack(1), 0);
        }
    }
}
