//! Part of the process's memory, copied at once: a read costs much more than its bytes.

use crate::{memory, verifier::within};

/// The innermost part of the native stack: most of what a walk reads is in it.
pub(crate) type StackWindow = Window<512>;
/// Python frames: those of calls from Python to Python lie side by side (3.11 and later).
pub(crate) type FrameWindow = Window<128>;

const PAGE_SIZE: u64 = 4096;
/// Copied instead where a whole window would reach beyond the memory.
const FEW_WORDS: usize = 64;

/// A copy of `WORDS` words, a power of two.
#[repr(C)]
pub(crate) struct Window<const WORDS: usize> {
    start: u64,
    /// Bytes that were copied.
    size: u64,
    words: [u64; WORDS],
}

impl<const WORDS: usize> Window<WORDS> {
    /// Holds nothing.
    pub(crate) fn close(&mut self) {
        self.size = 0;
    }

    /// Copies what is at and above an address.
    pub(crate) fn open(&mut self, start: u64) {
        self.open_words::<WORDS>(start);
        if self.size == 0 {
            self.open_words::<FEW_WORDS>(start);
        }
    }

    /// Copies the first `N` words at and above an address.
    pub(crate) fn open_words<const N: usize>(&mut self, start: u64) {
        self.start = start;
        let copied = match self.words.split_first_chunk_mut::<N>() {
            Some((words, _)) => memory::read_into(words, start),
            None => None,
        };
        self.size = if copied.is_some() { (N * 8) as u64 } else { 0 };
    }

    /// Whether all of these bytes are in the copy.
    pub(crate) fn holds(&self, address: u64, size: u64) -> bool {
        let offset = address.wrapping_sub(self.start);
        offset.saturating_add(size) <= self.size
    }

    /// Copies what ends at an address and belongs to the page of its last words: the page before
    /// may not exist, and to find that out costs more than reading twice.
    pub(crate) fn open_below(&mut self, end: u64, last_words: u64) {
        let page = end.wrapping_sub(last_words) & !(PAGE_SIZE - 1);
        let start = end.wrapping_sub((WORDS * 8) as u64);
        self.open(if start < page { page } else { start });
    }

    /// A word, from the copy if it is there.
    pub(crate) fn read(&self, address: u64) -> Option<u64> {
        let offset = address.wrapping_sub(self.start);
        if offset < self.size && offset.is_multiple_of(8) {
            return Some(self.words[within::<WORDS>((offset / 8) as usize)]);
        }
        memory::read(address)
    }
}
