//! The memory that stacks are read from: that of the process, a page at a time, or a copy that was
//! made while the thread ran.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
};

use memtrace_abi::thread::{FrameCopy, Sample};

use crate::process::memory::{Memory, PAGE_BYTES};

/// How far beyond its copy a stack goes on at most: stacks of 8 MiB are usual.
const MAX_OUTER_STACK: u64 = 64 << 20;
/// Pages fetched at once: stacks are read upwards.
const AHEAD: usize = 4;
/// Pages that are kept: 16 MiB. A broken chain of frames may lead anywhere.
const MAX_PAGES: usize = 4096;

const PAGE: usize = PAGE_BYTES as usize;

/// The memory of a process, each page as it was when it was first looked at.
pub struct Pages {
    memory: Memory,
    pages: RefCell<HashMap<u64, Option<Box<[u8; PAGE]>>>>,
}

impl Pages {
    /// Nothing yet.
    pub fn new(memory: Memory) -> Self {
        Self { memory, pages: RefCell::default() }
    }

    /// The word at an address.
    pub fn word(&self, address: u64) -> Option<u64> {
        let mut word = [0; 8];
        self.fill(address, &mut word)?;
        Some(u64::from_le_bytes(word))
    }

    /// Fills the buffer from an address on, or not at all.
    pub fn fill(&self, address: u64, buffer: &mut [u8]) -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let address = address.checked_add(filled as u64)?;
            let (number, offset) = (address / PAGE_BYTES, (address % PAGE_BYTES) as usize);
            self.fetch(number);
            let pages = self.pages.borrow();
            let page = &pages.get(&number)?.as_ref()?[offset..];
            let size = page.len().min(buffer.len() - filled);
            buffer[filled..filled + size].copy_from_slice(&page[..size]);
            filled += size;
        }
        Some(())
    }

    fn fetch(&self, number: u64) {
        let mut pages = self.pages.borrow_mut();
        if pages.contains_key(&number) || pages.len() >= MAX_PAGES {
            return;
        }
        let mut buffer = [0; AHEAD * PAGE];
        let address = number.saturating_mul(PAGE_BYTES);
        // What cannot be read is not there.
        let size = self.memory.read(address, &mut buffer).unwrap_or(0);
        let (present, _) = buffer[..size].as_chunks::<PAGE>();
        for (number, page) in (number..).zip(present) {
            pages.entry(number).or_insert_with(|| Some(Box::new(*page)));
        }
        pages.entry(number).or_insert(None);
    }
}

/// The copied stack of a thread. What lies beyond the copy is read from the process, later: some
/// libraries keep large arrays on the stack.
pub struct Copied<'sample> {
    sample: &'sample Sample,
    beyond: Option<Pages>,
    is_exact: Cell<bool>,
    frames: BTreeMap<u64, &'sample FrameCopy>,
}

impl<'sample> Copied<'sample> {
    /// Of a sample, and of the memory of its process, if that may be used.
    pub fn new(sample: &'sample Sample, memory: Option<Memory>) -> Self {
        let count = sample.frames.len().min(sample.frame_count as usize);
        let frames = sample.frames[..count].iter().map(|frame| (frame.address, frame)).collect();
        Self { sample, beyond: memory.map(Pages::new), is_exact: Cell::new(true), frames }
    }

    /// The address of the innermost Python frame, or 0.
    pub fn python_frame(&self) -> u64 {
        if self.frames.is_empty() { 0 } else { self.sample.frames[0].address }
    }

    /// The word at an address of the native stack or of a Python frame.
    pub fn word(&self, address: u64) -> Option<u64> {
        let copied = self.stack_word(address).or_else(|| self.frame_word(address));
        copied.or_else(|| self.word_beyond(address))
    }

    /// Whether all that was asked for was in the copy.
    pub fn is_exact(&self) -> bool {
        self.is_exact.get()
    }

    fn word_beyond(&self, address: u64) -> Option<u64> {
        let end = self.sample.stack_start.checked_add(self.sample.stack_size)?;
        let is_outer_stack = (end..end.saturating_add(MAX_OUTER_STACK)).contains(&address);
        let word = self.beyond.as_ref().filter(|_| is_outer_stack)?.word(address)?;
        self.is_exact.set(false);
        Some(word)
    }

    fn stack_word(&self, address: u64) -> Option<u64> {
        let offset = address.checked_sub(self.sample.stack_start)? as usize;
        let size = self.sample.stack.len().min(self.sample.stack_size as usize);
        let word = self.sample.stack[..size].get(offset..)?.first_chunk()?;
        Some(u64::from_le_bytes(*word))
    }

    fn frame_word(&self, address: u64) -> Option<u64> {
        let (start, frame) = self.frames.range(..=address).next_back()?;
        frame.words.get(((address - start) / 8) as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::thread::FRAME_WORDS;

    use super::*;

    fn sample() -> Box<Sample> {
        // SAFETY: all zeros are a valid sample.
        let mut sample: Box<Sample> = unsafe { Box::new_zeroed().assume_init() };
        sample.stack_start = 0x1000;
        sample.stack_size = 1024;
        sample.stack[16..24].copy_from_slice(&7_u64.to_le_bytes());
        sample.frame_count = 1;
        sample.frames[0] = FrameCopy { address: 0x9000, words: [0; FRAME_WORDS] };
        sample.frames[0].words[2] = 8;
        sample
    }

    #[test]
    fn words_come_from_the_copy_and_from_nowhere_else() {
        let sample = sample();
        let copied = Copied::new(&sample, None);
        assert_eq!(copied.python_frame(), 0x9000);
        assert_eq!([0x1010, 0x9010].map(|address| copied.word(address)), [Some(7), Some(8)]);
        for address in [0, 0xfff, 0x13f9, 0x1400, 0x8ff8, 0x9000 + 8 * FRAME_WORDS as u64] {
            assert_eq!(copied.word(address), None, "{address:#x}");
        }
    }

    #[test]
    fn absurd_counts_are_no_longer_than_the_copy() {
        let mut sample = sample();
        (sample.stack_size, sample.frame_count) = (u64::MAX, u64::MAX);
        let copied = Copied::new(&sample, None);
        assert_eq!(copied.word(0x1010), Some(7));
        assert_eq!(copied.word(0x1000 + sample.stack.len() as u64), None);
    }
}
