//! The memory of a main arena that did not grow by `brk` alone: where that fails, or is not to be
//! used, glibc maps memory instead (`sysmalloc`). Nothing lists those stretches. Each begins with a
//! page and a chunk, and ends with two headers of 16 bytes and a page, or with the top.

use memtrace_abi::mapping::Range;

use super::{
    arena::{Descriptor, Finder, Part},
    chunk::{ALIGNMENT, HEADER, MAPPED, MIN_SIZE, NON_MAIN, PREVIOUS_IN_USE, SIZE, size_of},
    copy::{ALONG, Copy},
    mapped::Starts,
    memory::{Memory, PAGE},
};

/// Pages that are looked at: 8 GiB.
const MAX_PAGES: u64 = 2 << 20;

/// Chunks that are looked at in walks that lead nowhere: pages that look like a beginning may each
/// lead to the same end.
const MAX_ASTRAY: u64 = 16 << 20;

impl<M: Memory> Finder<'_, M> {
    /// The stretches, by address, with the one that `brk` gave. What is not found is missing: malloc
    /// counts how much there must be.
    pub(super) fn scattered_parts(&self, arena: &Descriptor) -> Vec<Part> {
        let mut search = Search {
            finder: self,
            arena,
            copy: Copy::new(self.memory, ALONG),
            left: arena.system.saturating_add(PAGE),
            astray: MAX_ASTRAY,
            parts: Vec::new(),
        };
        search.of_break();
        let mut budget = MAX_PAGES;
        for range in self.anonymous {
            search.scan(*range, &mut budget);
        }
        search.parts
    }
}

struct Search<'a, M> {
    finder: &'a Finder<'a, M>,
    arena: &'a Descriptor,
    copy: Copy<'a, M>,
    /// Bytes of the arena that are still to be found.
    left: u64,
    /// Chunks that may still be looked at in vain.
    astray: u64,
    parts: Vec<Part>,
}

impl<M: Memory> Search<'_, M> {
    /// What `brk` gave, where others may have used it in between.
    fn of_break(&mut self) {
        let start = self.finder.parameters.start.checked_next_multiple_of(ALIGNMENT);
        let is_mapped = |start| self.finder.anonymous.iter().any(|range| range.contains(start));
        let Some(first) = start.filter(|start| *start != 0 && !is_mapped(*start)) else { return };
        let mut start = first;
        while let Some(part) = self.stretch(Range { start, end: u64::MAX }) {
            start = part.range.end;
            self.add(part);
        }
    }

    fn scan(&mut self, range: Range, budget: &mut u64) {
        let mut starts = Starts::new(self.finder.memory);
        let mut place = range.start;
        while place < range.end && *budget > 0 && self.astray > 0 && self.left > PAGE {
            *budget -= 1;
            let is_one = starts.at(place).is_some_and(|[_, word]| is_first(word));
            let room = Range { start: place, end: range.end };
            let part = if is_one { self.stretch(room) } else { None };
            place = part.map_or(place + PAGE, |part| part.range.end);
            part.inspect(|part| self.add(*part));
        }
    }

    fn add(&mut self, part: Part) {
        self.left = self.left.saturating_sub(part.range.end - part.range.start);
        self.parts.push(part);
    }

    /// The stretch at the start of `room`, if chunks lead from there to an end.
    fn stretch(&mut self, room: Range) -> Option<Part> {
        let mut chunks = 0;
        let part = self.walk(room, &mut chunks);
        if part.is_none() {
            self.astray = self.astray.saturating_sub(chunks);
        }
        part
    }

    fn walk(&mut self, room: Range, chunks: &mut u64) -> Option<Part> {
        let mut place = room.start;
        let part = |end, has_top| {
            let range = Range { start: room.start, end };
            Some(Part { range, first: room.start, has_top })
        };
        while place < room.end && place - room.start <= self.left && *chunks < self.astray {
            *chunks += 1;
            if place == self.arena.top {
                return part(self.finder.top_end(self.arena)?, true);
            }
            let word = self.copy.word(place.checked_add(SIZE)?)?;
            let size = size_of(word);
            if size == HEADER {
                let end = place + 2 * HEADER;
                let second = self.copy.word(place + HEADER + SIZE)?;
                let is_end = size_of(second) == HEADER && end.is_multiple_of(PAGE);
                return part(end, false).filter(|_| is_end && place > room.start);
            }
            is_chunk(word).then_some(())?;
            place = place.checked_add(size)?;
        }
        None
    }
}

/// Whether it is the size of a chunk of a main arena.
const fn is_chunk(word: u64) -> bool {
    let size = size_of(word);
    word & (MAPPED | NON_MAIN) == 0 && size.is_multiple_of(ALIGNMENT) && size >= MIN_SIZE
}

/// Whether it is that of a chunk with none before it.
const fn is_first(word: u64) -> bool {
    is_chunk(word) && word & PREVIOUS_IN_USE != 0
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Heap,
            State::{Live, Own, Top},
            memory::tests::Pages,
            tests::recording,
        },
        *,
    };

    const BASE: u64 = 0x7000_0000_0000;

    /// Two stretches of the main arena in one mapping, the one above with its top, and a page of
    /// something else between them.
    fn scattered() -> (Pages, super::super::Layout, Range) {
        let (mut pages, layout, _) = recording();
        let system = {
            let arena = Descriptor::read(&pages, &layout, layout.main_arena).unwrap();
            arena.system
        };
        let chunk = |pages: &mut Pages, place: u64, size: u64| {
            pages.word(BASE + place + SIZE, size | PREVIOUS_IN_USE);
        };
        let end = 4 * PAGE - 2 * HEADER;
        for (place, size) in [(0, 512), (512, 1024), (1536, end - 1536), (end, 16), (end + 16, 16)]
        {
            chunk(&mut pages, place, size);
        }
        pages.word(BASE + 4 * PAGE + SIZE, 7);
        chunk(&mut pages, 5 * PAGE, 4096);
        chunk(&mut pages, 6 * PAGE, 2 * PAGE);
        (0..8).for_each(|page| pages.write(BASE + page * PAGE, &[0]));
        let fields = layout.arena;
        pages.word(layout.main_arena + fields.top, BASE + 6 * PAGE);
        pages.word(layout.main_arena + fields.system, system + 7 * PAGE);
        // The upper half of the first word are the flags; NONCONTIGUOUS_BIT is 2.
        pages.word(layout.main_arena, 2 << 32);
        (pages, layout, Range { start: BASE, end: BASE + 8 * PAGE })
    }

    #[test]
    fn stretches_that_brk_did_not_give_are_found() {
        let (pages, layout, range) = scattered();
        let heap = Heap::read(&pages, &layout, &[range]).unwrap();
        let main = &heap.arenas[0];
        let parts: Vec<_> = main.parts.iter().map(|part| part.chunks.range()).collect();
        let [low, high] = [
            Range { start: BASE, end: BASE + 4 * PAGE },
            Range { start: BASE + 5 * PAGE, end: BASE + 8 * PAGE },
        ];
        assert!(parts.contains(&low) && parts.contains(&high), "{parts:x?}");
        let chunks = heap.chunks().filter(|chunk| range.contains(chunk.address));
        let states: Vec<_> = chunks.map(|chunk| (chunk.size, chunk.state)).collect();
        let last = 4 * PAGE - 2 * HEADER - 1536;
        let expected = [
            (512, Live),
            (1024, Live),
            (last, Live),
            (16, Own),
            (16, Own),
            (4096, Live),
            (2 * PAGE, Top),
        ];
        assert_eq!(states, expected);
        assert!(!main.shrinks, "no brk can move its end");
    }
}
