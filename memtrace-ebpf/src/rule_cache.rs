//! The rules that were found last, for all threads together. Stacks differ most at their innermost
//! frames, so most of the searches for a new stack are some that an earlier one needed as well.
//!
//! An entry is one word: programs on several CPUs need no lock. It holds its whole key, so what is
//! found is what a search would find. Tables of objects never change.

/// Entries, a power of two.
pub const ENTRIES: u32 = 1 << INDEX_BITS;
/// Objects that may have a table.
pub const MAX_OBJECTS: u32 = 1 << 14;

const INDEX_BITS: u32 = 13;
/// As in [`crate::frame`].
const ADDRESS_BITS: u32 = 40;
const KEY_BITS: u32 = MAX_OBJECTS.ilog2() + ADDRESS_BITS;
const TAG_BITS: u32 = KEY_BITS - INDEX_BITS;
/// Odd, so that no two keys have the same product in [`KEY_BITS`] bits.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
/// Of an entry that was written.
const WRITTEN: u64 = 1 << 63;

/// An address in an object, as the cache knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Of the entry.
    pub index: u32,
    tag: u64,
}

impl Key {
    /// `None` for what is never in the cache.
    #[must_use]
    pub const fn new(object: u32, address: u64) -> Option<Self> {
        if object >= MAX_OBJECTS || address >> ADDRESS_BITS != 0 {
            return None;
        }
        let key = (object as u64) << ADDRESS_BITS | address;
        let mixed = key.wrapping_mul(FACTOR) & ((1 << KEY_BITS) - 1);
        Some(Self { index: (mixed >> TAG_BITS) as u32, tag: mixed & ((1 << TAG_BITS) - 1) })
    }

    /// The entry that says which rule it is.
    #[must_use]
    pub const fn entry(self, rule: u16) -> u64 {
        WRITTEN | self.tag << u16::BITS | rule as u64
    }

    /// The rule, if `entry` is that of this key.
    #[must_use]
    pub const fn rule(self, entry: u64) -> Option<u16> {
        let rule = entry as u16;
        if self.entry(rule) == entry { Some(rule) } else { None }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_entry_is_of_its_key_alone() {
        let keys =
            || (0..64_u32).flat_map(|object| (0..512_u64).map(move |at| (object, at * 4093)));
        let entry = |(object, address)| {
            let key = Key::new(object, address).expect("a small key");
            assert!(key.index < ENTRIES);
            (key.index, key.entry(7))
        };
        let distinct: HashSet<_> = keys().map(entry).collect();
        assert_eq!(distinct.len(), keys().count());
    }

    #[test]
    fn the_rule_comes_back_and_no_empty_entry_has_one() {
        let last = Key::new(MAX_OBJECTS - 1, (1 << ADDRESS_BITS) - 1).expect("the last key");
        for rule in [0, 1, u16::MAX] {
            assert_eq!(last.rule(last.entry(rule)), Some(rule));
        }
        assert_eq!(last.rule(0), None);
        let first = Key::new(0, 0).expect("the first key");
        assert_eq!(first.rule(0), None, "nothing was written yet");
        assert_eq!(first.rule(last.entry(3)), None);
    }

    #[test]
    fn what_has_no_room_is_not_cached() {
        assert_eq!(Key::new(MAX_OBJECTS, 0), None);
        assert_eq!(Key::new(0, 1 << ADDRESS_BITS), None);
    }
}
