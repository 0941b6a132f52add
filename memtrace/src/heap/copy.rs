//! A bounded copy of memory.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    memory::{Memory, PAGE},
    window::Window,
};

/// log2 of the bytes that are looked at together where chunks are read one behind the other: asking
/// costs more than reading, but memory changes while it is read.
pub(super) const ALONG: u32 = 18;
/// log2 of the bytes that are looked at together where a list leads anywhere.
pub(super) const ANYWHERE: u32 = 14;
/// How many times as much, or less, the next larger or smaller window has; log2.
const STEP: u32 = 2;
/// log2 of a page, the least that is looked at.
pub(super) const LEAST: u32 = PAGE.ilog2();
/// Bytes that are kept, unless told otherwise.
const KEPT_BYTES: u64 = 16 << 20;
/// Windows that are kept at least.
const LEAST_WINDOWS: u64 = 16;

/// Memory as it was when it was first looked at, window by window; the oldest window is given up for
/// the next one.
pub(crate) struct Copy<'m, M: ?Sized> {
    memory: &'m M,
    /// log2 of the bytes of a window.
    bits: u32,
    kept_bytes: u64,
    /// Places of windows by number.
    places: HashMap<u64, usize, RandomState>,
    windows: Vec<(u64, Window)>,
    /// Where the oldest is.
    oldest: usize,
    /// Where the last one that was used is.
    recent: usize,
    read_bytes: u64,
}

impl<'m, M: Memory + ?Sized> Copy<'m, M> {
    /// Nothing yet; memory will be read in windows of `1 << bits` bytes.
    pub(crate) fn new(memory: &'m M, bits: u32) -> Self {
        Self {
            memory,
            bits,
            kept_bytes: KEPT_BYTES,
            places: HashMap::default(),
            windows: Vec::new(),
            oldest: 0,
            recent: 0,
            read_bytes: 0,
        }
    }

    /// What it is a copy of.
    pub(crate) const fn memory(&self) -> &'m M {
        self.memory
    }

    /// Keeps so much.
    pub(crate) fn keeping(self, bytes: u64) -> Self {
        Self { kept_bytes: bytes, ..self }
    }

    /// Bytes that are looked at together.
    pub(crate) const fn window_size(&self) -> u64 {
        1 << self.bits
    }

    /// Bytes that were read, what was read again included.
    pub(crate) const fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Looks at less together from now on, and afresh.
    pub(super) fn narrow(&mut self) {
        self.bits = (self.bits - STEP).max(LEAST);
        self.forget();
    }

    /// Looks at more together from now on, at most as much as along chunks.
    pub(super) fn widen(&mut self) {
        if self.bits < ALONG {
            self.bits = (self.bits + STEP).min(ALONG);
            self.forget();
        }
    }

    /// Looks afresh at the window that holds the address.
    pub(crate) fn refresh(&mut self, address: u64) {
        let number = address >> self.bits;
        if let Some(place) = self.places.get(&number).copied() {
            self.windows[place].1 = self.look(number);
        }
    }

    /// Looks at everything afresh from now on.
    pub(crate) fn forget(&mut self) {
        self.places.clear();
        self.windows.clear();
        (self.oldest, self.recent) = (0, 0);
    }

    /// The eight bytes at a multiple of eight.
    pub(crate) fn word(&mut self, address: u64) -> Option<u64> {
        self.page(address)?
            .get((address % PAGE) as usize..)?
            .first_chunk()
            .map(|word| u64::from_le_bytes(*word))
    }

    /// What is at an address now, whatever was there before; it does not cross a page.
    pub(crate) fn bytes_now<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let window = self.memory.read_pages(address / PAGE * PAGE, 1);
        self.read_bytes += window.len() as u64;
        window.page(0)?.get((address % PAGE) as usize..)?.first_chunk().copied()
    }

    /// The page that holds the address.
    pub(crate) fn page(&mut self, address: u64) -> Option<&[u8]> {
        if !self.holds(address) {
            self.fetch(address >> self.bits);
        }
        let number = address % self.window_size() / PAGE;
        self.windows.get(self.recent)?.1.page(number)
    }

    /// Whether the window with the address is there; it is the recent one then.
    pub(crate) fn holds(&mut self, address: u64) -> bool {
        let number = address >> self.bits;
        if self.windows.get(self.recent).is_some_and(|(recent, _)| *recent == number) {
            return true;
        }
        let place = self.places.get(&number).copied();
        self.recent = place.unwrap_or(self.recent);
        place.is_some()
    }

    /// Reads a window, which is the recent one then.
    fn fetch(&mut self, number: u64) {
        let window = (number, self.look(number));
        let most = (self.kept_bytes >> self.bits).max(LEAST_WINDOWS);
        if (self.windows.len() as u64) < most {
            self.recent = self.windows.len();
            self.windows.push(window);
        } else {
            self.recent = self.oldest;
            self.oldest = (self.oldest + 1) % self.windows.len();
            let old = std::mem::replace(&mut self.windows[self.recent], window);
            self.places.remove(&old.0);
        }
        self.places.insert(number, self.recent);
    }

    fn look(&mut self, number: u64) -> Window {
        let window = self.memory.read_pages(number << self.bits, 1 << (self.bits - LEAST));
        self.read_bytes += window.len() as u64;
        window
    }
}

#[cfg(test)]
mod tests {
    use super::{super::memory::tests::Pages, *};

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
        copy.refresh(0x5008);
        assert!(pages.reads.get() > reads);
        let reads = pages.reads.get();
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

    #[test]
    fn the_oldest_window_is_given_up() {
        let mut pages = Pages::default();
        (0..40).for_each(|page| pages.word(page * PAGE, page));
        let mut copy = Copy::new(&pages, LEAST).keeping(0);
        for page in 0..40 {
            assert_eq!(copy.word(page * PAGE), Some(page));
        }
        assert_eq!((copy.windows.len(), copy.places.len(), pages.reads.get()), (16, 16, 40));
        assert_eq!((copy.word(24 * PAGE), copy.word(39 * PAGE)), (Some(24), Some(39)));
        assert_eq!(pages.reads.get(), 40);
        assert_eq!((copy.word(23 * PAGE), pages.reads.get()), (Some(23), 41));
        assert_eq!(copy.read_bytes(), 41 * PAGE);
    }
}
