//! Reads a whole heap: arenas, their chunks, what is on free lists, mapped chunks, and which pages
//! of all that are in memory.

use std::collections::BTreeMap;

use memtrace_abi::mapping::Range;

use super::{
    Chunk, Layout, Memory, Parameters, Refusal,
    arena::{Descriptor, Finder},
    chunk::{Chunks, State},
    doubt::Doubt,
    listed::Listed,
    lists::{Lists, MAX_CANDIDATES},
    mapped::{Search, is_all},
    memory::PAGE,
    resident::{Resident, resident_bytes},
    walk::Walk,
};

/// How often the parts of an arena are listed.
const MAX_LISTINGS: usize = 4;
/// Bytes of the lists of chunks, of all parts together. Enough for a heap of 1.5 GiB in the smallest
/// of blocks, or of 20 GiB in blocks of a kilobyte.
const MAX_LIST_BYTES: usize = 48 << 20;

/// A heap as it was read. It may have changed meanwhile; what is here was true of each part when
/// that was read.
#[derive(Clone, Debug)]
pub struct Heap {
    /// Where and how the allocator is laid out.
    pub layout: Layout,
    /// The allocator's settings and counts.
    pub parameters: Parameters,
    /// The arenas, the main one first.
    pub arenas: Vec<Arena>,
    /// Chunks that have a mapping of their own, by address.
    pub mapped: Vec<Mapped>,
    /// How often a place had to be looked at again because it changed meanwhile.
    pub looks: u32,
    /// What may be wrong or missing.
    pub doubts: Vec<Doubt>,
}

/// An arena.
#[derive(Clone, Debug)]
pub struct Arena {
    /// Address of its `struct malloc_state`.
    pub address: u64,
    /// Whether it is the one that grows by `brk`.
    pub is_main: bool,
    /// Whether its end can be given back by `brk`.
    pub shrinks: bool,
    /// What it has got from the kernel by its own count, bytes; `parts` may cover less.
    pub system_bytes: u64,
    /// Its memory, by address.
    pub parts: Vec<Part>,
}

/// An address range that belongs to malloc.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it holds, without gaps.
    pub chunks: Chunks,
    resident: Resident,
}

/// A chunk with a mapping of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// What the mapping covers.
    pub range: Range,
    /// Bytes of it that are in memory.
    pub resident: u64,
}

impl Part {
    fn new(memory: &impl Memory, chunks: Chunks) -> Self {
        let resident = Resident::read(memory, chunks.range());
        Self { chunks, resident }
    }

    /// Whether the page that holds the address, which is one of the part's, is in memory.
    #[must_use]
    pub fn is_resident(&self, address: u64) -> bool {
        self.resident.holds(address)
    }
}

impl Heap {
    /// Reads the heap of a process.
    ///
    /// `layout` has the process's addresses; `anonymous` are its writable mappings without a file,
    /// in which mapped chunks are looked for. Takes as long as `memory` lets it; what could not be
    /// read by then is [`State::Unknown`].
    pub fn read(
        memory: &impl Memory,
        layout: &Layout,
        anonymous: &[Range],
    ) -> Result<Self, Refusal> {
        let parameters = Parameters::read(memory, layout)?;
        let finder = Finder { memory, layout, parameters: &parameters, anonymous };
        let (descriptors, is_whole) = finder.arenas()?;
        let is_used = descriptors.iter().any(|arena| arena.has_memory(layout));
        if !is_used && parameters.mapped_count == 0 {
            return Err(Refusal::Unused);
        }
        let mut heap = Self {
            layout: *layout,
            parameters,
            arenas: Vec::new(),
            mapped: Vec::new(),
            looks: 0,
            doubts: Vec::new(),
        };
        if !is_whole {
            heap.doubts.push(Doubt::Arenas);
        }
        for descriptor in &descriptors {
            heap.read_arena(&finder, descriptor);
        }
        heap.read_mapped(memory, anonymous);
        // Last, because it may take longest.
        heap.read_lists(memory, &descriptors);
        heap.doubt_coverage();
        Ok(heap)
    }

    fn read_arena(&mut self, finder: &Finder<'_, impl Memory>, descriptor: &Descriptor) {
        let mut parts = BTreeMap::new();
        let mut found = finder.parts(descriptor);
        // Parts come and go while others are read.
        for _ in 0..MAX_LISTINGS {
            found.retain(|found| !parts.values().any(|part| overlap(part, found.range)));
            if found.is_empty() {
                break;
            }
            for part in found {
                let listed = self.parts().chain(parts.values()).map(|part| part.chunks.bytes());
                let room = MAX_LIST_BYTES.saturating_sub(listed.sum());
                let walked = Walk::new(finder, descriptor.address, part, room).run();
                self.looks += walked.looks;
                let part = walked.chunks.map(|chunks| Part::new(finder.memory, chunks));
                parts.extend(part.map(|part| (part.chunks.range().start, part)));
            }
            found =
                finder.descriptor(descriptor.address).map_or_else(Vec::new, |d| finder.parts(&d));
        }
        let arena = Arena {
            address: descriptor.address,
            is_main: descriptor.address == self.layout.main_arena,
            shrinks: finder.is_at_break(descriptor),
            system_bytes: descriptor.system,
            parts: parts.into_values().collect(),
        };
        self.doubt(&arena, descriptor);
        self.arenas.push(arena);
    }

    fn doubt(&mut self, arena: &Arena, descriptor: &Descriptor) {
        let missing = descriptor.system.saturating_sub(arena.bytes());
        if descriptor.has_memory(&self.layout) && arena.parts.is_empty() {
            self.doubts.push(Doubt::Arena(missing));
        } else if arena.is_main && !descriptor.is_contiguous() && missing > PAGE {
            // A page at most is lost to alignment.
            self.doubts.push(Doubt::Elsewhere(missing));
        }
    }

    /// Finds the free chunks that look live.
    fn read_lists(&mut self, memory: &impl Memory, descriptors: &[Descriptor]) {
        let lists = Lists::new(memory, &self.layout, &self.parameters);
        let mut listed = Listed::default();
        let mut ends = 0;
        for descriptor in descriptors {
            ends += usize::from(!lists.add_fast(descriptor.address, &mut listed));
        }
        let candidates: Vec<_> = self
            .chunks()
            .filter(|chunk| chunk.state == State::Live && lists.may_be_cache(chunk.size))
            .map(|chunk| (chunk.address, chunk.size))
            .take(MAX_CANDIDATES)
            .collect();
        let busy = lists.add_caches(&candidates, &mut listed);
        listed.sort();
        self.mark(&listed);
        self.doubts.extend((ends > 0).then_some(Doubt::Fast(ends)));
        self.doubts.extend((busy > 0).then_some(Doubt::Caches(busy)));
    }

    fn mark(&mut self, listed: &Listed) {
        for part in self.arenas.iter_mut().flat_map(|arena| &mut arena.parts) {
            let mut state = listed.states(part.chunks.range().start);
            part.chunks.restate(|chunk| state(chunk).filter(|_| chunk.state == State::Live));
        }
    }

    fn read_mapped(&mut self, memory: &impl Memory, anonymous: &[Range]) {
        let taken: Vec<Range> = self.parts().map(|part| part.chunks.range()).collect();
        let ranges = without(anonymous, taken);
        let wanted = self.count_mapped(memory);
        let found = Search::new(memory, &self.layout, wanted).run(&ranges);
        let mapped = found.into_iter();
        let mapped = mapped.map(|range| Mapped { range, resident: resident_bytes(memory, range) });
        self.mapped = mapped.collect();
        let bytes = self.mapped.iter().map(|chunk| length(chunk.range)).sum();
        let found = (self.mapped.len() as u64, bytes);
        if !is_all(&self.layout, found, wanted) {
            let is_changing = self.count_mapped(memory) != wanted;
            self.doubts.push(Doubt::Mapped {
                counted: wanted.0,
                counted_bytes: wanted.1,
                found: found.0,
                found_bytes: found.1,
                is_changing,
            });
        }
    }

    /// The number of mapped chunks and their bytes, as malloc counts them now.
    fn count_mapped(&mut self, memory: &impl Memory) -> (u64, u64) {
        self.parameters = Parameters::read(memory, &self.layout).unwrap_or(self.parameters);
        (self.parameters.mapped_count, self.parameters.mapped_bytes)
    }

    fn doubt_coverage(&mut self) {
        let unknown: u64 = self
            .chunks()
            .filter(|chunk| chunk.state == State::Unknown)
            .map(|chunk| chunk.size)
            .sum();
        self.doubts.extend((unknown > 0).then_some(Doubt::Unknown(unknown)));
    }

    /// The parts of all arenas.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.arenas.iter().flat_map(|arena| &arena.parts)
    }

    /// The chunks of all arenas; mapped ones are not among them.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk> {
        self.parts().flat_map(|part| part.chunks.iter())
    }
}

impl Arena {
    /// Bytes of its parts.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| length(part.chunks.range())).sum()
    }
}

fn overlap(part: &Part, range: Range) -> bool {
    let own = part.chunks.range();
    own.start < range.end && range.start < own.end
}

pub(super) fn length(range: Range) -> u64 {
    range.end.saturating_sub(range.start)
}

/// The ranges without those that are taken.
fn without(ranges: &[Range], mut taken: Vec<Range>) -> Vec<Range> {
    taken.sort_by_key(|range| range.start);
    let mut rest = Vec::new();
    for range in ranges {
        let mut start = range.start;
        let first = taken.partition_point(|taken| taken.end <= start);
        for taken in taken[first..].iter().take_while(|taken| taken.start < range.end) {
            rest.push(Range { start, end: taken.start });
            start = taken.end;
        }
        rest.push(Range { start, end: range.end });
    }
    rest.retain(|range| range.start < range.end);
    rest
}
