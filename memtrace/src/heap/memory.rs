//! What a heap is read through, and a bounded copy of it. Knows no process: tests read from bytes.

use std::collections::{HashMap, hash_map::Entry};

use memtrace_abi::mapping::Range;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Pages fetched at once where chunks are read one behind the other.
pub(super) const ALONG: u64 = 32;
/// Pages fetched at once where a list leads anywhere.
pub(super) const ANYWHERE: u64 = 16;
/// Pages kept: 128 MiB.
const MAX_PAGES: usize = 32_768;

/// The memory of a process, or something that looks like it.
pub trait Memory {
    /// Fills `buffer` from `address` on, up to the first byte that is not in memory or may not be
    /// read, and says how many bytes that are.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize;

    /// Whether each page of the range, which is page-aligned, is in memory; fewer than the range
    /// has if not all could be asked for.
    fn resident(&self, range: Range) -> Vec<bool>;
}

/// Memory as it was when it was first looked at, page by page.
pub(super) struct Copy<'m, M> {
    memory: &'m M,
    ahead: u64,
    /// Offsets in `bytes` by page number; `None`: not in memory.
    pages: HashMap<u64, Option<usize>>,
    bytes: Vec<u8>,
    recent: Option<(u64, usize)>,
}

impl<'m, M: Memory> Copy<'m, M> {
    /// Nothing yet; pages will be fetched `ahead` at once.
    pub(super) fn new(memory: &'m M, ahead: u64) -> Self {
        Self { memory, ahead, pages: HashMap::new(), bytes: Vec::new(), recent: None }
    }

    /// Looks at everything afresh from now on.
    pub(super) fn forget(&mut self) {
        self.pages.clear();
        self.bytes.clear();
        self.recent = None;
    }

    /// The eight bytes at a multiple of eight.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        let start = self.page(address / PAGE)? + (address % PAGE) as usize;
        let bytes = self.bytes.get(start..start.checked_add(8)?)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Where the page's bytes begin.
    fn page(&mut self, number: u64) -> Option<usize> {
        if let Some((_, offset)) = self.recent.filter(|(recent, _)| *recent == number) {
            return Some(offset);
        }
        if !self.pages.contains_key(&number) {
            self.fetch(number);
        }
        let offset = *self.pages.get(&number)?;
        self.recent = Some((number, offset?));
        offset
    }

    fn fetch(&mut self, number: u64) {
        if self.pages.len() >= MAX_PAGES {
            self.forget();
        }
        let mut buffer = vec![0; (self.ahead * PAGE) as usize];
        let address = number.saturating_mul(PAGE);
        let length = self.memory.read(address, &mut buffer).min(buffer.len());
        let (pages, _) = buffer[..length].as_chunks::<{ PAGE as usize }>();
        for (number, page) in (number..).zip(pages) {
            if let Entry::Vacant(place) = self.pages.entry(number) {
                place.insert(Some(self.bytes.len()));
                self.bytes.extend_from_slice(page);
            }
        }
        self.pages.entry(number).or_insert(None);
    }
}

/// The words at an address, all or none.
pub(super) fn read_words(memory: &impl Memory, address: u64, count: usize) -> Option<Vec<u64>> {
    let mut bytes = vec![0; count.checked_mul(8)?];
    if memory.read(address, &mut bytes) != bytes.len() {
        return None;
    }
    let (words, _) = bytes.as_chunks();
    Some(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use std::{cell::Cell, collections::BTreeMap};

    use super::*;

    /// Pages by number; the others are absent.
    #[derive(Clone, Default)]
    pub(crate) struct Pages {
        pub(crate) pages: BTreeMap<u64, [u8; PAGE as usize]>,
        pub(crate) reads: Cell<u64>,
    }

    impl Pages {
        pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) {
            for (address, byte) in (address..).zip(bytes) {
                let page = self.pages.entry(address / PAGE).or_insert([0; PAGE as usize]);
                page[(address % PAGE) as usize] = *byte;
            }
        }

        pub(crate) fn word(&mut self, address: u64, word: u64) {
            self.write(address, &word.to_le_bytes());
        }
    }

    impl Memory for Pages {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            self.reads.set(self.reads.get() + 1);
            let mut length = 0;
            while length < buffer.len() {
                let Some(at) = address.checked_add(length as u64) else { break };
                let Some(page) = self.pages.get(&(at / PAGE)) else { break };
                let rest = &page[(at % PAGE) as usize..];
                let part = rest.len().min(buffer.len() - length);
                buffer[length..length + part].copy_from_slice(&rest[..part]);
                length += part;
            }
            length
        }

        fn resident(&self, range: Range) -> Vec<bool> {
            let pages = range.start / PAGE..range.end.div_ceil(PAGE);
            pages.take(1 << 20).map(|page| self.pages.contains_key(&page)).collect()
        }
    }

    #[test]
    fn a_copy_stays_as_it_was_until_it_is_forgotten() {
        let mut pages = Pages::default();
        pages.word(0x5008, 7);
        pages.word(0x7000, 9);
        let mut copy = Copy::new(&pages, ALONG);
        assert_eq!(
            (copy.word(0x5008), copy.word(0x6000), copy.word(0x7000)),
            (Some(7), None, Some(9))
        );
        let reads = pages.reads.get();
        assert_eq!((copy.word(0x5000), copy.word(0x6008)), (Some(0), None));
        assert_eq!(pages.reads.get(), reads, "nothing is read twice");
        copy.forget();
        assert_eq!(copy.word(0x5008), Some(7));
        assert!(pages.reads.get() > reads);
    }

    #[test]
    fn addresses_without_memory_have_no_word() {
        let pages = Pages::default();
        let mut copy = Copy::new(&pages, ALONG);
        for address in [0, PAGE, u64::MAX - 7, 1 << 63] {
            assert_eq!(copy.word(address), None, "{address:#x}");
        }
    }
}
