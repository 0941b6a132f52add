//! Arenas, the independent heaps of one allocator, and the address ranges that each consists of:
//! one for the main arena, one `heap_info` (malloc/arena.c) after the other for those of threads.

use memtrace_abi::mapping::Range;

use super::{
    Layout, Parameters, Refusal,
    chunk::{ALIGNMENT, HEADER, MIN_SIZE, SIZE, size_of},
    memory::{Memory, PAGE, patiently, read_words},
};

/// glibc makes at most eight for each processor, unless told otherwise.
const MAX_ARENAS: usize = 16_384;
/// Address ranges of one arena: 4 TiB.
const MAX_PARTS: usize = 65_536;
/// Normal bins, the unsorted one first.
pub(super) const BINS: u64 = 127;
/// Fastbins.
pub(super) const FAST_BINS: u64 = 10;
/// The flag of a main arena whose memory did not all come from `brk` (`NONCONTIGUOUS_BIT`).
const NONCONTIGUOUS: u64 = 2;

/// What an arena's `struct malloc_state` said when it was read.
#[derive(Clone, Debug)]
pub(super) struct Descriptor {
    pub(super) address: u64,
    pub(super) top: u64,
    /// Heads of the fastbins, as chunks; none from glibc 2.43 on.
    pub(super) fast: Vec<u64>,
    /// Heads of the bins: first and last chunk of each.
    pub(super) bins: Vec<u64>,
    pub(super) next: u64,
    /// What it has got from the kernel, bytes.
    pub(super) system: u64,
    flags: u64,
    /// What its lock says: 0 if no thread holds it.
    lock: u64,
}

impl Descriptor {
    pub(super) fn read(memory: &impl Memory, layout: &Layout, address: u64) -> Option<Self> {
        let fields = layout.arena;
        let words = read_words(memory, address, fields.size as usize / 8)?;
        let at = |offset: u64| words[offset as usize / 8];
        let run = |offset: u64, count: u64| words[offset as usize / 8..][..count as usize].to_vec();
        Some(Self {
            address,
            top: at(fields.top),
            fast: fields.fast.map_or_else(Vec::new, |offset| run(offset, FAST_BINS)),
            bins: run(fields.bins, 2 * BINS),
            next: at(fields.next),
            system: at(fields.system),
            flags: at(0) >> 32,
            lock: at(0) & u64::from(u32::MAX),
        })
    }

    /// Whether a thread may be changing it. The only thread of a process takes no lock.
    pub(super) const fn is_locked(&self) -> bool {
        self.lock != 0
    }

    /// Whether the other one is of another moment, between changes by the lock's holders. Fastbins
    /// do not count: they change without the lock.
    pub(super) fn differs(&self, other: &Self) -> bool {
        (self.top, self.system, &self.bins) != (other.top, other.system, &other.bins)
    }

    /// The first and the last free chunk of each bin, and the top; empty bins lead to themselves.
    pub(super) fn heads(&self) -> impl Iterator<Item = u64> {
        self.bins.iter().copied().chain([self.top])
    }

    /// The bin's own address, as its chunks have it: that of a chunk whose links the head is.
    pub(super) const fn bin(&self, layout: &Layout, index: u64) -> u64 {
        let head = self.address.wrapping_add(layout.arena.bins + 2 * SIZE * index);
        head.wrapping_sub(HEADER)
    }

    /// Whether every bin is empty or leads to chunks on both sides.
    fn has_bins(&self, layout: &Layout) -> bool {
        (0..BINS).zip(self.bins.chunks_exact(2)).all(|(index, links)| {
            let bin = self.bin(layout, index);
            let leads = |link: u64| link != bin && link != 0 && link.is_multiple_of(ALIGNMENT);
            links.iter().all(|link| *link == bin) || links.iter().all(|link| leads(*link))
        })
    }

    pub(super) fn has_memory(&self, layout: &Layout) -> bool {
        self.top != 0 && self.top != self.bin(layout, 0)
    }

    pub(super) const fn is_contiguous(&self) -> bool {
        self.flags & NONCONTIGUOUS == 0
    }
}

/// An address range of an arena: the allocator's own head, then chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Everything.
    pub(super) range: Range,
    /// The first chunk.
    pub(super) first: u64,
    /// Whether the top chunk is its end; else a marker is.
    pub(super) has_top: bool,
}

/// Where to look for an arena.
pub(super) struct Finder<'a, M> {
    pub(super) memory: &'a M,
    pub(super) layout: &'a Layout,
    pub(super) parameters: &'a Parameters,
    /// Writable mappings without a file.
    pub(super) anonymous: &'a [Range],
}

impl<M: Memory> Finder<'_, M> {
    /// All arenas, the main one first, and whether the list could be followed to its end.
    pub(super) fn arenas(&self) -> Result<(Vec<Descriptor>, bool), Refusal> {
        let main = self.layout.main_arena;
        let first = self.descriptor(main).ok_or(Refusal::Unreadable("main_arena"))?;
        if first.top == 0 && first.bins.iter().all(|link| *link == 0) {
            return Err(Refusal::Unused);
        }
        let first =
            patiently(self.memory, || self.descriptor(main).filter(|main| self.has_bins(main)));
        let first = first.ok_or(Refusal::Inconsistent("main_arena"))?;
        let mut next = first.next;
        let mut arenas = vec![first];
        while next != main && arenas.len() < MAX_ARENAS {
            let arena = patiently(self.memory, || self.thread_arena(next));
            let Some(arena) = arena else { return Ok((arenas, false)) };
            next = arena.next;
            arenas.push(arena);
        }
        Ok((arenas, next == main))
    }

    /// Whether the top is where `brk` moves the end.
    pub(super) fn is_at_break(&self, arena: &Descriptor) -> bool {
        let is_mapped = self.anonymous.iter().any(|range| range.contains(arena.top));
        arena.address == self.layout.main_arena && !is_mapped
    }

    pub(super) fn descriptor(&self, address: u64) -> Option<Descriptor> {
        Descriptor::read(self.memory, self.layout, address)
    }

    fn heap_bytes(&self) -> u64 {
        self.parameters.heap_bytes(self.layout.version)
    }

    /// The address range that holds the address, if thread arenas use it.
    fn heap_of(&self, address: u64) -> u64 {
        address & !(self.heap_bytes() - 1)
    }

    fn thread_arena(&self, address: u64) -> Option<Descriptor> {
        let heap = self.heap_of(address);
        let is_one = address - heap == self.layout.heap_info()
            && read_words(self.memory, heap, 1) == Some(vec![address]);
        self.descriptor(address).filter(|arena| is_one && self.has_bins(arena))
    }

    fn has_bins(&self, arena: &Descriptor) -> bool {
        arena.has_bins(self.layout)
    }

    /// The ranges of an arena that is as the descriptor says, in the order in which it got them.
    pub(super) fn parts(&self, arena: &Descriptor) -> Vec<Part> {
        if !arena.has_memory(self.layout) {
            Vec::new()
        } else if arena.address == self.layout.main_arena {
            self.main_parts(arena)
        } else {
            self.thread_parts(arena)
        }
    }

    fn main_parts(&self, arena: &Descriptor) -> Vec<Part> {
        let Some((arena, end)) = self.main_end(arena.address) else { return Vec::new() };
        let start = self.parameters.start.checked_next_multiple_of(ALIGNMENT);
        let start = start.filter(|start| arena.is_contiguous() && *start <= arena.top);
        let part = |start| Part { range: Range { start, end }, first: start, has_top: true };
        if let Some(start) = start {
            return vec![part(start)];
        }
        let mut parts = self.scattered_parts(&arena);
        if !parts.iter().any(|part| part.has_top) {
            parts.push(part(arena.top));
        }
        parts
    }

    /// The main arena and where it ends. The header of a top that has just been moved is not there
    /// yet for some instructions.
    fn main_end(&self, address: u64) -> Option<(Descriptor, u64)> {
        let look = || {
            let arena = self.descriptor(address)?;
            self.top_end(&arena).map(|end| (arena, end))
        };
        // The top moves all the time, the end does not.
        patiently(self.memory, || {
            look().filter(|(_, end)| look().is_some_and(|(_, again)| again == *end))
        })
    }

    pub(super) fn top_end(&self, arena: &Descriptor) -> Option<u64> {
        let size = size_of(*read_words(self.memory, arena.top.checked_add(SIZE)?, 1)?.first()?);
        let end = arena.top.checked_add(size)?;
        (size >= MIN_SIZE && end.is_multiple_of(PAGE)).then_some(end)
    }

    fn thread_parts(&self, arena: &Descriptor) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut heap = self.heap_of(arena.top);
        while parts.len() < MAX_PARTS {
            let Some((part, previous)) = self.thread_part(arena, heap, parts.is_empty()) else {
                break;
            };
            parts.push(part);
            heap = previous;
        }
        parts.reverse();
        parts
    }

    /// A part and the address of the one before it.
    fn thread_part(&self, arena: &Descriptor, heap: u64, has_top: bool) -> Option<(Part, u64)> {
        let words = read_words(self.memory, heap, 3)?;
        let (owner, previous, size) = (words[0], words[1], words[2]);
        let head = self.layout.heap_info();
        let first = if heap.checked_add(head)? == arena.address {
            arena
                .address
                .checked_add(self.layout.arena.size)?
                .checked_next_multiple_of(ALIGNMENT)?
        } else {
            heap.checked_add(head)?
        };
        let end = heap.checked_add(size)?;
        let holds = owner == arena.address
            && heap != 0
            && size.is_multiple_of(PAGE)
            && size <= self.heap_bytes()
            && first + 2 * HEADER <= end
            && previous.is_multiple_of(self.heap_bytes());
        holds.then_some((Part { range: Range { start: heap, end }, first, has_top }, previous))
    }

    /// The part as it is now, if it is still there.
    pub(super) fn again(&self, arena: u64, part: Part) -> Option<Part> {
        if arena == self.layout.main_arena {
            if !part.has_top {
                return Some(part);
            }
            // The end stays as it was known if it cannot be told.
            let end = self.main_end(arena).map_or(part.range.end, |(_, end)| end);
            let end = if end > part.first { end } else { part.range.end };
            return Some(Part { range: Range { end, ..part.range }, ..part });
        }
        let arena = self.descriptor(arena)?;
        let has_top = self.heap_of(arena.top) == part.range.start;
        Some(self.thread_part(&arena, part.range.start, has_top)?.0)
    }
}
