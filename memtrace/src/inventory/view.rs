//! Memory as it was when it was first looked at, within limits: read in large pieces, the latest of
//! them kept.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use foldhash::fast::RandomState;
use memtrace_abi::mapping::Range;

use super::{Limits, Spent};
use crate::heap::Memory;

const PAGE: u64 = 4096;
/// Bytes read at once; a multiple of pages and of pools, so that no block lies across two.
const PIECE: u64 = 256 << 10;
const PIECE_PAGES: u64 = PIECE / PAGE;
/// User space ends below this on x86-64 with four levels of page tables; five are opt-in.
const ADDRESS_END: u64 = 1 << 47;

struct Piece {
    number: u64,
    /// One bit a page.
    present: u64,
    bytes: Box<[u8]>,
}

/// The memory of one process, seen through limits.
pub(super) struct View<'m> {
    memory: &'m dyn Memory,
    numbers: HashMap<u64, usize, RandomState>,
    pieces: Vec<Piece>,
    /// The piece to be given up for the next one.
    oldest: usize,
    recent: usize,
    max_pieces: usize,
    bytes_left: u64,
    start: Instant,
    time: Duration,
    end: Instant,
    read_bytes: u64,
    spent: Option<Spent>,
}

impl<'m> View<'m> {
    pub(super) fn new(memory: &'m dyn Memory, limits: &Limits) -> Self {
        Self {
            memory,
            numbers: HashMap::default(),
            pieces: Vec::new(),
            oldest: 0,
            recent: 0,
            max_pieces: (limits.kept_bytes / PIECE as usize).max(16),
            bytes_left: limits.read_bytes,
            start: Instant::now(),
            time: limits.time,
            end: Instant::now() + limits.time,
            read_bytes: 0,
            spent: None,
        }
    }

    /// The limit that was reached; nothing more is read then.
    pub(super) fn spent(&self) -> Option<Spent> {
        self.spent
    }

    pub(super) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    /// Looks at the clock, which reading does only for every piece.
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

    /// What is around an address is read afresh when it is next looked at.
    pub(super) fn forget_at(&mut self, address: u64) {
        if let Some(index) = self.numbers.remove(&(address / PIECE))
            && let Some(piece) = self.pieces.get_mut(index)
        {
            (piece.number, piece.present) = (u64::MAX, 0);
        }
    }

    /// Everything is read afresh from now on.
    pub(super) fn forget(&mut self) {
        self.numbers.clear();
        self.pieces.clear();
        (self.oldest, self.recent) = (0, 0);
    }

    /// The eight bytes at a multiple of eight.
    pub(super) fn word(&mut self, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8) {
            return None;
        }
        self.chunk(address).map(u64::from_le_bytes)
    }

    /// Words in a row.
    pub(super) fn words<const N: usize>(&mut self, address: u64) -> Option<[u64; N]> {
        let mut words = [0; N];
        for (index, word) in words.iter_mut().enumerate() {
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

    pub(super) fn byte(&mut self, address: u64) -> Option<u8> {
        self.chunk(address).map(|[byte]| byte)
    }

    /// Bytes in a row, fewer where memory ends; `length` is the caller's to bound.
    pub(super) fn bytes(&mut self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let Some(at) = address.checked_add(bytes.len() as u64) else { break };
            let Some(page) = self.page(at) else { break };
            bytes.extend_from_slice(page);
        }
        bytes.truncate(length);
        bytes
    }

    /// The rest of the page from the address on.
    fn page(&mut self, address: u64) -> Option<&[u8]> {
        let piece = self.piece(address)?;
        let start = (address % PIECE) as usize;
        let end = (start / PAGE as usize + 1) * PAGE as usize;
        self.pieces.get(piece)?.bytes.get(start..end)
    }

    /// Bytes that do not cross a page.
    fn chunk<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let piece = self.piece(address)?;
        let start = (address % PIECE) as usize;
        self.pieces.get(piece)?.bytes.get(start..)?.first_chunk().copied()
    }

    /// The piece with the address, if its page is present.
    fn piece(&mut self, address: u64) -> Option<usize> {
        let number = address / PIECE;
        let recent = self.pieces.get(self.recent).filter(|piece| piece.number == number);
        if recent.is_none() {
            self.recent = match self.numbers.get(&number) {
                Some(index) => *index,
                None => self.fetch(number)?,
            };
        }
        let page = address % PIECE / PAGE;
        let present = self.pieces.get(self.recent)?.present;
        (present >> page & 1 == 1).then_some(self.recent)
    }

    fn fetch(&mut self, number: u64) -> Option<usize> {
        if number == 0 || number >= ADDRESS_END / PIECE || self.is_late() {
            return None;
        }
        if self.bytes_left < PIECE {
            self.spent = Some(Spent::Bytes);
            return None;
        }
        self.bytes_left -= PIECE;
        let index = self.slot();
        let piece = self.pieces.get_mut(index)?;
        self.numbers.remove(&piece.number);
        (piece.number, piece.present) = (number, fill(self.memory, number, &mut piece.bytes));
        self.read_bytes += u64::from(piece.present.count_ones()) * PAGE;
        self.numbers.insert(number, index);
        Some(index)
    }

    /// An index to read the next piece to.
    fn slot(&mut self) -> usize {
        if self.pieces.len() < self.max_pieces {
            let bytes = vec![0; PIECE as usize].into_boxed_slice();
            self.pieces.push(Piece { number: u64::MAX, present: 0, bytes });
            return self.pieces.len() - 1;
        }
        let index = self.oldest;
        self.oldest = (index + 1) % self.max_pieces;
        index
    }
}

/// Reads the pages of a piece that are in memory, and says which.
fn fill(memory: &dyn Memory, number: u64, bytes: &mut [u8]) -> u64 {
    let start = number * PIECE;
    let first = memory.read(start, bytes) as u64 / PAGE;
    let mut present = mask(0, first);
    if first == PIECE_PAGES {
        return present;
    }
    let resident = memory.resident(Range { start, end: start + PIECE });
    let mut page = first + 1;
    while page < PIECE_PAGES {
        if !resident.get(page as usize).is_some_and(|resident| *resident) {
            page += 1;
            continue;
        }
        let rest = bytes.get_mut((page * PAGE) as usize..).unwrap_or_default();
        let read = memory.read(start + page * PAGE, rest) as u64 / PAGE;
        present |= mask(page, read);
        page += read + 1;
    }
    present
}

/// Bits of `count` pages from the first on.
fn mask(first: u64, count: u64) -> u64 {
    (first..first.saturating_add(count).min(PIECE_PAGES)).fold(0, |bits, page| bits | 1 << page)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Pages with even numbers are present and full of their number.
    struct Even(Cell<usize>);

    impl Memory for Even {
        fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
            self.0.set(self.0.get() + 1);
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
        Limits { kept_bytes: 16 * PIECE as usize, ..Limits::default() }
    }

    #[test]
    fn present_pages_are_read_around_absent_ones() {
        let memory = Even(Cell::default());
        let mut view = View::new(&memory, &limits());
        for page in 64..128 {
            let expected = (page % 2 == 0).then_some(page as u8);
            assert_eq!(view.byte(page * PAGE + 4095), expected, "page {page}");
        }
        assert_eq!(memory.0.get(), 32, "the absent ones are not tried");
        assert_eq!(view.word(66 * PAGE + 8), Some(0x4242_4242_4242_4242));
        assert_eq!(view.words::<2>(67 * PAGE - 8), None);
        assert_eq!(view.bytes(66 * PAGE + 4090, 100), [66; 6]);
    }

    #[test]
    fn what_is_kept_and_read_is_bounded() {
        let memory = Even(Cell::default());
        let mut view = View::new(&memory, &Limits { read_bytes: 64 * PIECE, ..limits() });
        for number in 1..100 {
            view.byte(number * PIECE);
        }
        assert_eq!((view.pieces.len(), view.numbers.len()), (16, 16));
        assert_eq!(view.spent(), Some(Spent::Bytes));
        assert_eq!(view.byte(200 * PIECE), None);
        assert_eq!(view.byte(60 * PIECE), Some(0), "what is kept can be looked at");
    }

    #[test]
    fn impossible_addresses_are_not_read() {
        let memory = Even(Cell::default());
        let mut view = View::new(&memory, &limits());
        for address in [0, 8, ADDRESS_END, u64::MAX - 7, u64::MAX] {
            assert_eq!(view.byte(address), None);
        }
        assert_eq!(view.word(66 * PAGE + 1), None);
        assert_eq!(memory.0.get(), 0);
    }

    #[test]
    fn time_ends_the_reading() {
        let memory = Even(Cell::default());
        let mut view = View::new(&memory, &Limits { time: Duration::ZERO, ..limits() });
        assert_eq!(view.byte(66 * PAGE), None);
        assert_eq!(view.spent(), Some(Spent::Time));
    }
}
