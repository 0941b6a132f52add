//! What a heap is read through, and a bounded copy of it. Knows no process: tests read from bytes.

use std::collections::HashMap;

use memtrace_abi::mapping::Range;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Bytes that are looked at together where chunks are read one behind the other: asking costs more
/// than reading, but memory changes while it is read.
pub(super) const ALONG: u64 = 256 << 10;
/// Bytes that are looked at together where a list leads anywhere.
pub(super) const ANYWHERE: u64 = 16 << 10;
/// Looks at what contradicts itself.
const MAX_LOOKS: usize = 100;
/// How many of them follow each other without a pause.
const HASTY_LOOKS: usize = 3;
/// How many times as much, or less, the next larger or smaller window has.
const STEP: u64 = 4;
/// Bytes that are kept.
const MAX_BYTES: u64 = 32 << 20;

/// The memory of a process, or something that looks like it.
pub trait Memory {
    /// Fills `buffer` from `address` on, up to the first byte that is not in memory or may not be
    /// read, and says how many bytes that are.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize;

    /// Fills those pages of `buffer`, which begins at the page-aligned `address` and has 1 MiB at
    /// most, that are in memory, and says which they are; a missing answer stands for no.
    fn read_pages(&self, address: u64, buffer: &mut [u8]) -> Vec<bool> {
        let pages = (address..).step_by(PAGE as usize).zip(buffer.chunks_mut(PAGE as usize));
        pages.map(|(address, page)| self.read(address, page) == page.len()).collect()
    }

    /// Whether each page of the range, which is page-aligned, is in memory; fewer than the range
    /// has if not all could be asked for.
    fn resident(&self, range: Range) -> Vec<bool>;

    /// Lets what changes the memory go on for a moment; `false` if it was waited for long enough.
    fn wait(&self) -> bool {
        false
    }

    /// A number, if nothing can be changing the memory just now; if it is the same later, nothing has
    /// in between.
    fn rest(&self) -> Option<u64> {
        Some(0)
    }
}

/// What the first look says that says anything: what contradicts itself may be in the midst of a
/// change.
pub(super) fn patiently<T>(memory: &impl Memory, look: impl Fn() -> Option<T>) -> Option<T> {
    let mut looks = (0..MAX_LOOKS).take_while(|number| *number < HASTY_LOOKS || memory.wait());
    looks.find_map(|_| look())
}

/// Memory as it was when it was first looked at, window by window.
pub(super) struct Copy<'m, M> {
    memory: &'m M,
    /// Bytes of a window.
    size: u64,
    numbers: HashMap<u64, usize>,
    windows: Vec<Window>,
    /// Number and place of the last one used.
    recent: (u64, usize),
}

struct Window {
    is_read: Vec<bool>,
    bytes: Vec<u8>,
}

impl<'m, M: Memory> Copy<'m, M> {
    /// Nothing yet; memory will be read in windows of `size` bytes, a number of pages.
    pub(super) fn new(memory: &'m M, size: u64) -> Self {
        Self { memory, size, numbers: HashMap::new(), windows: Vec::new(), recent: (u64::MAX, 0) }
    }

    /// Bytes that are looked at together.
    pub(super) const fn window_size(&self) -> u64 {
        self.size
    }

    /// Looks at less together from now on, and afresh.
    pub(super) fn narrow(&mut self) {
        self.size = (self.size / STEP).max(PAGE);
        self.forget();
    }

    /// Looks at more together from now on, at most as much as along chunks.
    pub(super) fn widen(&mut self) {
        if self.size < ALONG {
            self.size = (self.size * STEP).min(ALONG);
            self.forget();
        }
    }

    /// Looks afresh at the window that holds the address.
    pub(super) fn refresh(&mut self, address: u64) {
        let number = address / self.size;
        if let Some(place) = self.numbers.get(&number).copied() {
            self.windows[place] = self.look(number);
        }
    }

    /// Looks at everything afresh from now on.
    pub(super) fn forget(&mut self) {
        self.numbers.clear();
        self.windows.clear();
        self.recent = (u64::MAX, 0);
    }

    /// The eight bytes at a multiple of eight.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        let place = self.window(address / self.size);
        let window = &self.windows[place];
        let offset = (address % self.size) as usize;
        if !*window.is_read.get(offset / PAGE as usize)? {
            return None;
        }
        let bytes = window.bytes.get(offset..offset + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Where the window is.
    fn window(&mut self, number: u64) -> usize {
        if self.recent.0 != number || self.windows.is_empty() {
            let known = self.numbers.get(&number).copied();
            self.recent = (number, known.unwrap_or_else(|| self.fetch(number)));
        }
        self.recent.1
    }

    fn fetch(&mut self, number: u64) -> usize {
        if self.windows.len() as u64 * self.size >= MAX_BYTES {
            self.forget();
        }
        self.windows.push(self.look(number));
        self.numbers.insert(number, self.windows.len() - 1);
        self.windows.len() - 1
    }

    fn look(&self, number: u64) -> Window {
        let mut bytes = vec![0; self.size as usize];
        let is_read = self.memory.read_pages(number * self.size, &mut bytes);
        Window { is_read, bytes }
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
        pub(crate) fn write(&mut self, mut address: u64, mut bytes: &[u8]) {
            while !bytes.is_empty() {
                let page = self.pages.entry(address / PAGE).or_insert([0; PAGE as usize]);
                let rest = &mut page[(address % PAGE) as usize..];
                let part = rest.len().min(bytes.len());
                rest[..part].copy_from_slice(&bytes[..part]);
                bytes = &bytes[part..];
                address += part as u64;
            }
        }

        /// The rest of the page that holds the address.
        fn from(&self, address: u64) -> Option<&[u8]> {
            Some(&self.pages.get(&(address / PAGE))?[(address % PAGE) as usize..])
        }

        pub(crate) fn word(&mut self, address: u64, word: u64) {
            self.write(address, &word.to_le_bytes());
        }
    }

    impl Memory for Pages {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            self.reads.set(self.reads.get() + 1);
            let mut length = 0;
            let wanted = buffer.len();
            let next = |length: usize| self.from(address.saturating_add(length as u64));
            while let Some(rest) = next(length).filter(|_| length < wanted) {
                let part = rest.len().min(wanted - length);
                buffer[length..length + part].copy_from_slice(&rest[..part]);
                length += part;
            }
            length
        }

        fn read_pages(&self, address: u64, buffer: &mut [u8]) -> Vec<bool> {
            self.reads.set(self.reads.get() + 1);
            let pages = buffer.chunks_mut(PAGE as usize).zip(address / PAGE..);
            let fill = |(bytes, number): (&mut [u8], u64)| {
                let page = self.pages.get(&number);
                page.inspect(|page| bytes.copy_from_slice(&page[..]));
                page.is_some()
            };
            pages.map(fill).collect()
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
