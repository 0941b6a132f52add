//! What a heap, or anything else, is read through. Knows no process: tests read from bytes.

use memtrace_abi::mapping::Range;

use super::window::Window;
pub use crate::process::memory::MAX_STARTS;

/// Bytes of a page.
pub const PAGE: u64 = 4096;

/// Looks at what contradicts itself.
const MAX_LOOKS: usize = 100;
/// How many of them follow each other without a pause.
const HASTY_LOOKS: usize = 3;

/// Addresses in a row that are mapped for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where they end.
    pub end: u64,
    /// Whether they are what `brk` moves.
    pub is_break: bool,
}

/// The memory of a process, or something that looks like it.
pub trait Memory {
    /// Fills `buffer` from `address` on, up to the first byte that is not in memory or may not be
    /// read, and says how many bytes that are.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize;

    /// Those pages that are in memory of `count`, [`Window::MAX_PAGES`] at most, from the page-aligned
    /// `address` on.
    fn read_pages(&self, address: u64, count: usize) -> Window {
        let mut window = Window::default();
        let mut page = [0; PAGE as usize];
        for (number, address) in (address..).step_by(PAGE as usize).take(count).enumerate() {
            if self.read(address, &mut page) == page.len() {
                window.push(number, &page);
            }
        }
        window
    }

    /// The first two words of each of `count` pages, [`MAX_STARTS`] at most, from the page-aligned
    /// `address` on; none of pages that are not in memory. A missing answer stands for none.
    fn read_starts(&self, address: u64, count: usize) -> Vec<Option<[u64; 2]>> {
        let pages = (address..).step_by(PAGE as usize).take(count);
        pages.map(|page| read_words(self, page, 2)?.try_into().ok()).collect()
    }

    /// Whether each page of the range, which is page-aligned and has 4 GiB at most, is in memory and
    /// the kernel counts it; fewer than the range has if not all could be asked for.
    fn resident(&self, range: Range) -> Vec<bool>;

    /// What is mapped around an address; everything is one, where that is not known.
    fn extent(&self, _address: u64) -> Option<Extent> {
        Some(Extent { end: u64::MAX, is_break: false })
    }

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

/// The words at an address, all or none.
pub(super) fn read_words(
    memory: &(impl Memory + ?Sized),
    address: u64,
    count: usize,
) -> Option<Vec<u64>> {
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

        fn read_pages(&self, address: u64, count: usize) -> Window {
            self.reads.set(self.reads.get() + 1);
            let mut window = Window::default();
            for number in 0..count {
                let page = self.pages.get(&(address / PAGE + number as u64));
                page.inspect(|page| window.push(number, page));
            }
            window
        }

        fn resident(&self, range: Range) -> Vec<bool> {
            let pages = range.start / PAGE..range.end.div_ceil(PAGE);
            pages.take(1 << 20).map(|page| self.pages.contains_key(&page)).collect()
        }
    }
}
