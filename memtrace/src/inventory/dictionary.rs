//! Dicts: their tables of keys and values.

use super::reader::Reader;
use crate::python::Keys;

/// `ma_values` follows.
const MA_KEYS: u64 = 32;
/// log2 of the slots that no table exceeds.
const MAX_LOG2_SIZE: u64 = 40;

/// The keys of a dict, or those that the instances of a class share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Address of the first entry.
    entries: u64,
    /// Entries that are or were in use.
    pub(super) count: u64,
    /// Entries that there is room for.
    pub(super) usable: u64,
    /// Bytes of an entry; its key is in its last word but one, the value in the last.
    stride: u64,
    /// Bytes of the table (`_PyDict_KeysSize`).
    pub(super) bytes: u64,
    /// Dicts that share it.
    pub(super) sharers: u64,
}

/// A dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dictionary {
    pub(super) table: Table,
    /// Address of the values, in the order of the keys; 0: they are in the table.
    values: u64,
    /// Number of entries (`ma_used`).
    pub(super) length: u64,
}

/// A key and a value, each with the word that refers to it; the value is 0 if they are not in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key_place: u64,
    pub(super) key: u64,
    pub(super) value_place: u64,
    pub(super) value: u64,
}

impl Dictionary {
    /// Bytes beyond those of the object (`_PyDict_SizeOf`).
    pub(super) fn bytes(&self, keys: Keys) -> u64 {
        let values = match keys {
            _ if self.values == 0 => 0,
            Keys::Wide => self.table.usable,
            Keys::Packed => self.table.usable + self.table.count,
        };
        let shared = self.table.sharers != 1;
        values.saturating_mul(8).saturating_add(if shared { 0 } else { self.table.bytes })
    }
}

impl Reader<'_> {
    /// The dict at an address, if its parts fit together.
    pub(super) fn dictionary(&mut self, object: u64) -> Option<Dictionary> {
        let [length] = self.view.words(object.wrapping_add(16))?;
        let [keys, values] = self.view.words(object.wrapping_add(MA_KEYS))?;
        let table = self.table(keys)?;
        (length <= table.count).then_some(())?;
        let head = if self.interpreter.structures.minor >= 13 { 8 } else { 0 };
        let values = if values == 0 { 0 } else { values.wrapping_add(head) };
        Some(Dictionary { table, values, length })
    }

    /// The keys at an address, if they are some.
    pub(super) fn table(&mut self, keys: u64) -> Option<Table> {
        match self.interpreter.structures.keys {
            Keys::Wide => self.wide_table(keys),
            Keys::Packed => self.packed_table(keys),
        }
    }

    fn wide_table(&mut self, keys: u64) -> Option<Table> {
        let [sharers, size, _, left, count] = self.view.words(keys)?;
        let is_sane = size.is_power_of_two() && size <= 1 << MAX_LOG2_SIZE;
        let usable = size.checked_mul(2).filter(|_| is_sane)? / 3;
        (count <= usable && left <= usable).then_some(())?;
        let index = match size {
            ..0x100 => 1,
            0x100..0x1_0000 => 2,
            0x1_0000..0x1_0000_0000 => 4,
            _ => 8,
        };
        let head = 40 + index * size;
        let entries = keys.checked_add(head)?;
        Some(Table { entries, count, usable, stride: 24, bytes: head + usable * 24, sharers })
    }

    fn packed_table(&mut self, keys: u64) -> Option<Table> {
        let [sharers, packed, left, count] = self.view.words(keys)?;
        let [log2_size, log2_bytes, kind, ..] = packed.to_le_bytes().map(u64::from);
        let is_sane = log2_size <= MAX_LOG2_SIZE && log2_bytes <= MAX_LOG2_SIZE + 3 && kind <= 2;
        let size = is_sane.then(|| 1_u64 << log2_size)?;
        let usable = size * 2 / 3;
        (count <= usable && left <= usable).then_some(())?;
        let stride = if kind == 0 { 24 } else { 16 };
        let head = 32 + (1 << log2_bytes);
        let bytes = head + usable * stride;
        let entries = keys.checked_add(head)?;
        // What is shared grows by its own rule: `shared_keys_usable_size` adds what is left.
        let usable = if kind == 2 { left } else { usable };
        Some(Table { entries, count, usable, stride, bytes, sharers })
    }

    /// Where the key of an entry is.
    fn key_place(table: Table, index: u64) -> Option<u64> {
        let end = table.entries.checked_add((index + 1).checked_mul(table.stride)?)?;
        Some(end.wrapping_sub(16))
    }

    /// The key of an entry; 0 if it is not in use.
    pub(super) fn table_key(&mut self, table: Table, index: u64) -> Option<u64> {
        self.view.word(Self::key_place(table, index)?)
    }

    /// An entry by number.
    pub(super) fn entry(&mut self, dictionary: Dictionary, index: u64) -> Option<Entry> {
        let key_place = Self::key_place(dictionary.table, index)?;
        let value_place = match dictionary.values {
            0 => key_place.wrapping_add(8),
            values => values.checked_add(index.checked_mul(8)?)?,
        };
        let (key, value) = (self.view.word(key_place)?, self.view.word(value_place)?);
        Some(Entry { key_place, key, value_place, value })
    }

    /// The value of a key that is a `str`, of a dict with few entries.
    pub(super) fn item(&mut self, object: u64, name: &str) -> Option<u64> {
        const MAX_ENTRIES: u64 = 10_000;
        let dictionary = self.dictionary(object)?;
        (0..dictionary.table.count.min(MAX_ENTRIES)).find_map(|index| {
            let Entry { key, value, .. } = self.entry(dictionary, index)?;
            if value == 0 {
                return None;
            }
            // Types are not resolved here: this is how they get their names.
            let found = self.characters(key, name.len() + 1)?;
            (found == name).then_some(value)
        })
    }
}
