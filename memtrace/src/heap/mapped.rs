//! Chunks with a mapping of their own. Nothing lists them: they are found by the header that each
//! begins with, and judged by the count and the sum that `mp_` has.

use memtrace_abi::mapping::Range;

use super::{
    Layout,
    chunk::{HEADER, MAPPED, NON_MAIN, PREVIOUS_IN_USE, SIZE, size_of},
    copy::{ANYWHERE, Copy},
    memory::{MAX_STARTS, Memory, PAGE},
};

/// Pages of other memory that are searched for chunks: 8 GiB.
const MAX_PAGES: u64 = 2 << 20;
/// More than the kernel allows mappings.
const MAX_FOUND: usize = 1 << 17;
/// In `mchunk_prev_size` from 2.43 on: the mapping has huge pages (`MMAP_HP`).
const HUGE: u64 = 1;
/// Where `memalign` puts a second header in the first page, for alignments from 32 bytes to a page;
/// for 32 bytes there are two places, the nearer one in 2.43.
const MOVED: [u64; 8] = [16, 48, 112, 240, 496, 1008, 2032, 4080];
/// Pages in which that is looked for if the alignment is larger: 2 MiB.
const MAX_MOVED_PAGES: u64 = 512;

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
        while let Some(words) = words(&mut copy, start)
            && let Some(chunk) = self.chunk(&mut copy, words, Range { start, end: range.end })
        {
            start = chunk.end;
            self.add(chunk);
        }
        if start < range.end {
            rest.push(Range { start, end: range.end });
        }
    }

    /// Chunks that begin on any page.
    fn scan(&mut self, range: Range, budget: &mut u64) {
        let mut starts = Starts::new(self.memory);
        let mut copy = Copy::new(self.memory, ANYWHERE);
        let mut place = range.start;
        while place < range.end && *budget > 0 && !self.is_complete() {
            *budget -= 1;
            let room = Range { start: place, end: range.end };
            let chunk = starts.at(place).and_then(|words| self.chunk(&mut copy, words, room));
            place = chunk.map_or(place + PAGE, |chunk| chunk.end);
            if let Some(chunk) = chunk {
                self.add(chunk);
            }
        }
    }

    fn add(&mut self, chunk: Range) {
        self.bytes += chunk.end - chunk.start;
        self.found.push(chunk);
    }

    /// The mapping of the chunk at the start of `room`, which begins with these words.
    fn chunk(&self, copy: &mut Copy<'_, M>, words: [u64; 2], room: Range) -> Option<Range> {
        let first = self.mapping(room.start, 0, words)?;
        let chunk = self.moved(copy, room).unwrap_or(first);
        (chunk.end <= room.end).then_some(chunk)
    }

    /// The mapping as a second header says it. `memalign` puts that where the memory shall begin, and
    /// what resizes the chunk later leaves the first one as it was.
    fn moved(&self, copy: &mut Copy<'_, M>, room: Range) -> Option<Range> {
        let mut at = |before: u64| {
            let words = words(copy, room.start.checked_add(before)?)?;
            self.mapping(room.start, before, words)
        };
        MOVED.into_iter().find_map(&mut at).or_else(|| at(self.end_of_next_page(room)?))
    }

    /// Where a second header is if the alignment is larger than a page: at the end of a page. Nobody
    /// has touched the pages before that, apart from the first.
    fn end_of_next_page(&self, room: Range) -> Option<u64> {
        let start = room.start.checked_add(PAGE)?;
        let end = room.end.min(start.checked_add(MAX_MOVED_PAGES * PAGE)?);
        let pages =
            if start < end { self.memory.resident(Range { start, end }) } else { Vec::new() };
        let next = pages.iter().position(|is_resident| *is_resident)? as u64;
        Some((next + 2) * PAGE - HEADER)
    }

    /// The mapping that begins at `start`, if a header `before` bytes behind that says so.
    fn mapping(&self, start: u64, before: u64, [told, word]: [u64; 2]) -> Option<Range> {
        let extra = self.layout.mapped_extra();
        let flags = word & (PREVIOUS_IN_USE | MAPPED | NON_MAIN);
        let is_told = told == before || extra > 0 && told == before | HUGE;
        let size = size_of(word).checked_add(before)?.checked_add(extra)?;
        let fits = flags == MAPPED && is_told && size > before && size.is_multiple_of(PAGE);
        fits.then_some(Range { start, end: start.checked_add(size)? })
    }
}

fn words(copy: &mut Copy<'_, impl Memory>, address: u64) -> Option<[u64; 2]> {
    Some([copy.word(address)?, copy.word(address.checked_add(SIZE)?)?])
}

/// The first words of pages, some thousand at a time: the pages themselves need not be copied.
pub(super) struct Starts<'a, M> {
    memory: &'a M,
    /// Number of the first page.
    first: u64,
    words: Vec<Option<[u64; 2]>>,
}

impl<'a, M: Memory> Starts<'a, M> {
    pub(super) const fn new(memory: &'a M) -> Self {
        Self { memory, first: 0, words: Vec::new() }
    }

    pub(super) fn at(&mut self, address: u64) -> Option<[u64; 2]> {
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
