//! Chunks with a mapping of their own. Nothing lists them: they are found by the header that each
//! begins with, and judged by the count and the sum that `mp_` has.

use memtrace_abi::mapping::Range;

use super::{
    Layout,
    chunk::{MAPPED, NON_MAIN, PREVIOUS_IN_USE, SIZE, size_of},
    copy::{ANYWHERE, Copy},
    memory::{MAX_STARTS, Memory, PAGE},
};

/// Pages of other memory that are searched for chunks: 8 GiB.
const MAX_PAGES: u64 = 2 << 20;
/// More than the kernel allows mappings.
const MAX_FOUND: usize = 1 << 17;
/// In `mchunk_prev_size` from 2.43 on: the mapping has huge pages (`MMAP_HP`).
const HUGE: u64 = 1;

/// Looks for mapped chunks.
pub(super) struct Search<'a, M> {
    memory: &'a M,
    layout: &'a Layout,
    found: Vec<Range>,
    bytes: u64,
    wanted: (u64, u64),
}

impl<'a, M: Memory> Search<'a, M> {
    /// `wanted` is the number of chunks and the bytes that they cover.
    pub(super) const fn new(memory: &'a M, layout: &'a Layout, wanted: (u64, u64)) -> Self {
        Self { memory, layout, found: Vec::new(), bytes: 0, wanted }
    }

    /// The chunks in these ranges, which hold no other memory of malloc. Each range is a mapping or
    /// a part of one; the kernel merges neighbours, so a chunk may begin on any page.
    pub(super) fn run(mut self, ranges: &[Range]) -> Vec<Range> {
        let mut rest = Vec::new();
        for range in ranges {
            if !self.is_complete() {
                self.chain(*range, &mut rest);
            }
        }
        let mut budget = MAX_PAGES;
        for range in rest {
            if !self.is_complete() {
                self.scan(range, &mut budget);
            }
        }
        self.found.sort_by_key(|chunk| chunk.start);
        self.found
    }

    fn is_complete(&self) -> bool {
        let found = (self.found.len() as u64, self.bytes);
        is_all(self.layout, found, self.wanted) || self.found.len() >= MAX_FOUND
    }

    /// Chunks one behind the other from the start of a range on; what is left is added to `rest`.
    fn chain(&mut self, range: Range, rest: &mut Vec<Range>) {
        let mut copy = Copy::new(self.memory, ANYWHERE);
        let mut start = range.start;
        let mut words =
            |start: u64| Some([copy.word(start)?, copy.word(start.checked_add(SIZE)?)?]);
        while let Some(chunk) = self.chunk_of(words(start), start, range.end) {
            start = chunk.end;
            self.add(chunk);
        }
        if start < range.end {
            rest.push(Range { start, end: range.end });
        }
    }

    /// Chunks that begin on any page.
    fn scan(&mut self, range: Range, budget: &mut u64) {
        let mut starts = Starts { memory: self.memory, first: 0, words: Vec::new() };
        let mut place = range.start;
        while place < range.end && *budget > 0 && !self.is_complete() {
            *budget -= 1;
            match self.chunk_of(starts.at(place), place, range.end) {
                Some(chunk) => {
                    place = chunk.end;
                    self.add(chunk);
                }
                None => place += PAGE,
            }
        }
    }

    fn add(&mut self, chunk: Range) {
        self.bytes += chunk.end - chunk.start;
        self.found.push(chunk);
    }

    /// The mapping of a chunk that begins with these words. What `memalign` moves keeps its first
    /// header.
    fn chunk_of(&self, words: Option<[u64; 2]>, start: u64, end: u64) -> Option<Range> {
        let [before, word] = words?;
        let flags = word & (PREVIOUS_IN_USE | MAPPED | NON_MAIN);
        let before_fits = before == 0 || before == HUGE && self.layout.mapped_extra() > 0;
        let size = size_of(word).checked_add(self.layout.mapped_extra())?;
        let chunk = Range { start, end: start.checked_add(size)? };
        let fits = flags == MAPPED && before_fits && size > 0 && size.is_multiple_of(PAGE);
        (fits && chunk.end <= end).then_some(chunk)
    }
}

/// The first words of pages, some thousand at a time: the pages themselves need not be copied.
struct Starts<'a, M> {
    memory: &'a M,
    /// Number of the first page.
    first: u64,
    words: Vec<Option<[u64; 2]>>,
}

impl<M: Memory> Starts<'_, M> {
    fn at(&mut self, address: u64) -> Option<[u64; 2]> {
        let number = address / PAGE;
        let is_there = (self.first..self.first + self.words.len() as u64).contains(&number);
        if !is_there {
            self.first = number;
            self.words = self.memory.read_starts(number * PAGE, MAX_STARTS);
        }
        *self.words.get((number - self.first) as usize)?
    }
}

/// Whether the number and the bytes of what was found are those that malloc counts.
pub(super) fn is_all(layout: &Layout, found: (u64, u64), wanted: (u64, u64)) -> bool {
    let unit = layout.mapped_unit();
    let surplus = wanted.1.checked_sub(found.1);
    // Where units are small, as much as 65,535 resizes make.
    found.0 == wanted.0
        && surplus.is_some_and(|surplus| surplus == 0 || unit < PAGE && surplus < 1 << 20)
}
