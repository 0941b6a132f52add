//! What `malloc_trim(0)` would give back to the kernel, as `mtrim`, `malloc_consolidate` and
//! `systrim` (malloc/malloc.c, glibc 2.28 to 2.43) would do it with the heap as it was read.
//!
//! Chunks in fastbins are first merged with their free neighbours (2.43 has none). Then the whole
//! pages within each free chunk are given back, but not those with the chunk's first 48 bytes. Last
//! the end of the main arena is cut off if `brk` gave it; that of other arenas is not. What threads
//! keep in their caches stays.

use memtrace_abi::mapping::Range;

use super::{
    chunk::{MIN_SIZE, State},
    memory::PAGE,
    read::{Arena, Heap},
};

/// `sizeof (struct malloc_chunk)`: the links that a free chunk may have.
const LINKS: u64 = 48;

/// The page-aligned ranges of an arena that `malloc_trim(0)` would give back, by address, whether
/// they are in memory or not.
#[must_use]
pub fn trimmable(heap: &Heap, arena: &Arena) -> Vec<Range> {
    let unit = heap.parameters.thp_bytes.max(PAGE);
    let mut ranges = Vec::new();
    for part in &arena.parts {
        let mut run: Option<Range> = None;
        for chunk in part.chunks.iter() {
            match chunk.state {
                State::Binned | State::Fast => {
                    let start = run.map_or(chunk.address, |run| run.start);
                    run = Some(Range { start, end: chunk.end() });
                }
                State::Top => {
                    let start = run.take().map_or(chunk.address, |run| run.start);
                    let top = Range { start, end: chunk.end() };
                    ranges.extend(arena.shrinks.then(|| end_of(top, unit)).flatten());
                }
                _ => ranges.extend(run.take().and_then(inside)),
            }
        }
        ranges.extend(run.and_then(inside));
    }
    ranges
}

/// The pages within a free chunk (`mtrim`).
fn inside(chunk: Range) -> Option<Range> {
    let start = chunk.start.checked_add(LINKS)?.checked_next_multiple_of(PAGE)?;
    let end = chunk.end / PAGE * PAGE;
    (start < end).then_some(Range { start, end })
}

/// The end of the main arena (`systrim`).
fn end_of(top: Range, unit: u64) -> Option<Range> {
    let spare = (top.end - top.start).checked_sub(MIN_SIZE + 1)?;
    let length = spare / unit * unit;
    (length > 0).then_some(Range { start: top.end - length, end: top.end })
}
