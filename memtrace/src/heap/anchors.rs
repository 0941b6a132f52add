//! Where a walk that cannot go on may begin again: the free chunks that an arena's bins lead to.

use std::{collections::BTreeSet, ops::Range};

use super::{
    arena::{BINS, Finder},
    chunk::{ALIGNMENT, HEADER, MIN_SIZE, PREVIOUS_IN_USE, SIZE, size_of},
    copy::{ANYWHERE, Copy},
    memory::{Memory, read_words},
};

/// Free chunks that are asked for.
const MAX_ANCHORS: usize = 16_384;

/// The last chunk of an arena in a range that is free now, of the first and last of each bin.
pub(super) fn anchor_before(
    finder: &Finder<'_, impl Memory>,
    arena: u64,
    range: Range<u64>,
) -> Option<u64> {
    let arena = finder.descriptor(arena)?;
    arena.heads().filter(|head| range.contains(head)).max()
}

/// The first chunk of an arena behind the start of a range that is free now, or the top, which ends
/// with the range.
pub(super) fn anchor_behind(
    finder: &Finder<'_, impl Memory>,
    arena: u64,
    Range { start, end }: Range<u64>,
) -> Option<u64> {
    let head = finder.descriptor(arena)?;
    let head = head.heads().filter(|head| is_free(finder, *head, (start, end))).min();
    // Lists change while they are followed.
    let listed =
        if finder.memory.rest().is_some() { listed(finder, arena) } else { BTreeSet::new() };
    let mut listed = listed.range(start.checked_add(1)?..head.unwrap_or(end));
    listed.find(|chunk| is_free(finder, **chunk, (start, end))).copied().or(head)
}

/// Whether there is a free chunk within a range, as the chunk and what is behind it say.
fn is_free(finder: &Finder<'_, impl Memory>, chunk: u64, (start, end): (u64, u64)) -> bool {
    let is_free = || {
        let size = size_of(*read_words(finder.memory, chunk.checked_add(SIZE)?, 1)?.first()?);
        let behind = chunk.checked_add(size).filter(|behind| *behind <= end)?;
        if behind == end {
            return Some(size >= MIN_SIZE);
        }
        let words = read_words(finder.memory, behind, 2)?;
        Some(size >= MIN_SIZE && words[0] == size && words[1] & PREVIOUS_IN_USE == 0)
    };
    start < chunk && chunk < end && is_free() == Some(true)
}

/// What the bins of an arena lead to, and its top.
fn listed(finder: &Finder<'_, impl Memory>, arena: u64) -> BTreeSet<u64> {
    let mut anchors = BTreeSet::new();
    let Some(arena) = finder.descriptor(arena) else { return anchors };
    let mut copy = Copy::new(finder.memory, ANYWHERE);
    for (index, links) in (0..BINS).zip(arena.bins.chunks_exact(2)) {
        let bin = arena.bin(finder.layout, index);
        let mut next = Some(links[0]);
        while let Some(chunk) = next.filter(|chunk| *chunk != bin && anchors.len() < MAX_ANCHORS) {
            let is_new = chunk.is_multiple_of(ALIGNMENT) && anchors.insert(chunk);
            next = copy.word(chunk.wrapping_add(HEADER)).filter(|_| is_new);
        }
    }
    anchors.insert(arena.top);
    anchors
}
