//! Part of the process's memory, copied at once: a read costs much more than its bytes.

use crate::memory;

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
        self.start = start;
        self.size = if memory::read_into(&mut self.words, start).is_some() {
            (WORDS * 8) as u64
        } else if let Some((few, _)) = self.words.split_first_chunk_mut::<FEW_WORDS>()
            && memory::read_into(few, start).is_some()
        {
            (FEW_WORDS * 8) as u64
        } else {
            0
        };
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
            return Some(self.words[(offset / 8) as usize & (WORDS - 1)]);
        }
        memory::read(address)
    }

    /// `N` words, from the copy only.
    pub(crate) fn copy_out<const N: usize>(&self, target: &mut [u64; N], address: u64) -> bool {
        let offset = address.wrapping_sub(self.start);
        let inside = offset.saturating_add((N * 8) as u64) <= self.size && offset.is_multiple_of(8);
        if inside {
            for (index, word) in target.iter_mut().enumerate() {
                *word = self.words[((offset / 8) as usize + index) & (WORDS - 1)];
            }
        }
        inside
    }
}
