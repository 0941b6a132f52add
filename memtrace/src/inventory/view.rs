//! Memory as it was when it was first looked at, within limits.

use std::time::{Duration, Instant};

use super::{Limits, Spent};
use crate::heap::{Copy, Extent, Memory, PAGE};

/// log2 of the bytes read at once, where they are gone through from the first to the last, and where
/// references lead anywhere. Pools divide them, so that no block lies across two.
pub(super) const ALONG: u32 = 18;
pub(super) const ANYWHERE: u32 = 16;
/// Nothing is mapped below this, as a rule.
const LEAST: u64 = 64 << 10;
/// User space ends below this on x86-64 with four levels of page tables; five are opt-in.
pub(super) const ADDRESS_END: u64 = 1 << 47;

/// The memory of one process, seen through limits.
pub(super) struct View<'m> {
    copy: Copy<'m, dyn Memory + Sync + 'm>,
    bytes_left: u64,
    start: Instant,
    time: Duration,
    end: Instant,
    spent: Option<Spent>,
}

impl<'m> View<'m> {
    /// Memory is read in windows of `1 << bits` bytes.
    pub(super) fn new(memory: &'m (dyn Memory + Sync), limits: &Limits, bits: u32) -> Self {
        Self {
            copy: Copy::new(memory, bits).keeping(limits.kept_bytes as u64),
            bytes_left: limits.read_bytes,
            start: Instant::now(),
            time: limits.time,
            end: Instant::now() + limits.time,
            spent: None,
        }
    }

    /// The limit that was reached; nothing more is read then.
    pub(super) fn spent(&self) -> Option<Spent> {
        self.spent
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.copy.read_bytes()
    }

    /// Looks at the clock, which reading does only for every window.
    pub(super) fn is_late(&mut self) -> bool {
        if self.spent.is_none() && Instant::now() >= self.end {
            self.spent = Some(Spent::Time);
        }
        self.spent.is_some()
    }

    /// Lets the reading go on up to a share of all its time, in hundredths.
    pub(super) fn allow(&mut self, share: u32) {
        self.end = self.start + self.time * share / 100;
        if self.spent == Some(Spent::Time) && Instant::now() < self.end {
            self.spent = None;
        }
    }

    /// What is mapped around an address.
    pub(super) fn extent(&self, address: u64) -> Option<Extent> {
        self.copy.memory().extent(address)
    }

    /// Reads what is around an address afresh.
    pub(super) fn refresh(&mut self, address: u64) {
        if self.pay(address, self.copy.window_size()).is_some() {
            self.copy.refresh(address);
        }
    }

    /// Everything is read afresh from now on.
    pub(super) fn forget(&mut self) {
        self.copy.forget();
    }

    /// The eight bytes at a multiple of eight.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) {
            return None;
        }
        self.chunk(address).map(u64::from_le_bytes)
    }

    /// The word that is at a multiple of eight now, whatever was there before.
    pub(super) fn word_now(&mut self, address: u64) -> Option<u64> {
        self.pay(address, PAGE)?;
        let word = self.copy.bytes_now(address)?;
        Some(u64::from_le_bytes(word))
    }

    /// Words in a row.
    pub(super) fn words<const N: usize>(&mut self, address: u64) -> Option<[u64; N]> {
        let mut words = [0; N];
        if !address.is_multiple_of(8) {
            return None;
        }
        let (here, _) = self.rest(address)?.as_chunks();
        for (word, bytes) in words.iter_mut().zip(here) {
            *word = u64::from_le_bytes(*bytes);
        }
        for (index, word) in words.iter_mut().enumerate().skip(here.len()) {
            *word = self.word(address.checked_add(index as u64 * 8)?)?;
        }
        Some(words)
    }

    /// The four bytes at a multiple of four.
    pub(super) fn half(&mut self, address: u64) -> Option<u32> {
        if !address.is_multiple_of(4) {
            return None;
        }
        self.chunk(address).map(u32::from_le_bytes)
    }

    /// The eight bytes at a multiple of four.
    pub(super) fn word_at_half(&mut self, address: u64) -> Option<u64> {
        if address.is_multiple_of(8) {
            return self.word(address);
        }
        let (low, high) = (self.half(address)?, self.half(address.checked_add(4)?)?);
        Some(u64::from(high) << 32 | u64::from(low))
    }

    pub(super) fn byte(&mut self, address: u64) -> Option<u8> {
        self.chunk(address).map(|[byte]| byte)
    }

    /// Bytes in a row, fewer where memory ends; `length` is the caller's to bound.
    pub(super) fn bytes(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let Some(at) = address.checked_add(bytes.len() as u64) else { break };
            let Some(rest) = self.rest(at) else { break };
            bytes.extend_from_slice(rest);
        }
        bytes.truncate(length);
        bytes
    }

    /// Bytes that do not cross a page.
    fn chunk<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        self.rest(address)?.first_chunk().copied()
    }

    /// The rest of the page from the address on.
    fn rest(&mut self, address: u64) -> Option<&[u8]> {
        if !self.copy.holds(address) {
            self.pay(address, self.copy.window_size())?;
        }
        self.copy.page(address)?.get((address % PAGE) as usize..)
    }

    /// Whether so many bytes around an address may be read.
    fn pay(&mut self, address: u64, bytes: u64) -> Option<()> {
        if !(LEAST..ADDRESS_END).contains(&address) || self.is_late() {
            return None;
        }
        let left = self.bytes_left.checked_sub(bytes);
        self.spent = self.spent.or(left.is_none().then_some(Spent::Bytes));
        self.bytes_left = left?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use memtrace_abi::mapping::Range;

    use super::*;

    const WINDOW: u64 = 1 << ANYWHERE;

    /// Pages with even numbers are present and full of their number.
    struct Even(AtomicUsize);

    impl Memory for Even {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            self.0.fetch_add(1, Ordering::Relaxed);
            let in_page = address % PAGE;
            let length = buffer.len().min((PAGE - in_page) as usize);
            if address / PAGE % 2 == 1 {
                return 0;
            }
            buffer[..length].fill((address / PAGE) as u8);
            length
        }

        fn resident(&self, range: Range) -> Vec<bool> {
            (range.start / PAGE..range.end / PAGE).map(|page| page % 2 == 0).collect()
        }
    }

    fn limits() -> Limits {
        Limits { kept_bytes: 16 * WINDOW as usize, ..Limits::default() }
    }

    #[test]
    fn present_pages_are_read_around_absent_ones() {
        let memory = Even(AtomicUsize::default());
        let mut view = View::new(&memory, &limits(), ANYWHERE);
        for page in 64..128 {
            let expected = (page % 2 == 0).then_some(page as u8);
            assert_eq!(view.byte(page * PAGE + 4095), expected, "page {page}");
        }
        assert_eq!(view.word(66 * PAGE + 8), Some(0x4242_4242_4242_4242));
        assert_eq!(view.words::<2>(67 * PAGE - 8), None);
        assert_eq!(view.word_at_half(66 * PAGE + 12), Some(0x4242_4242_4242_4242));
        assert_eq!(view.word_at_half(67 * PAGE - 4), None);
        assert_eq!(view.bytes(66 * PAGE + 4090, 100), [66; 6]);
    }

    #[test]
    fn what_is_kept_and_read_is_bounded() {
        let memory = Even(AtomicUsize::default());
        let mut view =
            View::new(&memory, &Limits { read_bytes: 64 * WINDOW, ..limits() }, ANYWHERE);
        for number in 1..100 {
            view.byte(number * WINDOW);
        }
        assert_eq!(view.spent(), Some(Spent::Bytes));
        assert_eq!(view.byte(200 * WINDOW), None);
        assert_eq!(view.byte(60 * WINDOW), Some((60 * 16) as u8), "what is kept can be looked at");
    }

    #[test]
    fn impossible_addresses_are_not_read() {
        let memory = Even(AtomicUsize::default());
        let mut view = View::new(&memory, &limits(), ANYWHERE);
        for address in [0, 8, ADDRESS_END, u64::MAX - 7, u64::MAX] {
            assert_eq!(view.byte(address), None);
        }
        assert_eq!(view.word(66 * PAGE + 1), None);
        assert_eq!(memory.0.into_inner(), 0);
    }

    #[test]
    fn time_ends_the_reading() {
        let memory = Even(AtomicUsize::default());
        let mut view = View::new(&memory, &Limits { time: Duration::ZERO, ..limits() }, ANYWHERE);
        assert_eq!(view.byte(66 * PAGE), None);
        assert_eq!(view.spent(), Some(Spent::Time));
    }
}
