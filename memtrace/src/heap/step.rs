//! The chunk at a place, as far as headers tell it.

use super::{
    arena::Part,
    chunk::{
        ALIGNMENT, Chunk, HEADER, MAPPED, MIN_SIZE, NON_MAIN, PREVIOUS_IN_USE, SIZE, State, size_of,
    },
    copy::Copy,
    memory::Memory,
};

/// What a chunk must be to be one of its arena.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) part: Part,
    /// Whether the part belongs to the main arena.
    pub(super) is_main: bool,
}

impl Rules {
    /// The chunk at a place, if there is one. It is believed if its size leads to another one, if a
    /// free chunk's size stands at its end as well, if a live one says which kind of arena it is of,
    /// and if the last of all ends exactly where the part ends.
    pub(super) fn chunk(self, copy: &mut Copy<'_, impl Memory>, place: u64) -> Option<Chunk> {
        let end = self.part.range.end;
        if place < self.part.first || place >= end {
            return None;
        }
        let word = copy.word(place.checked_add(SIZE)?)?;
        let size = size_of(word);
        let behind = place.checked_add(size)?;
        if word & MAPPED != 0 || !size.is_multiple_of(ALIGNMENT) || behind > end {
            return None;
        }
        if let Some(last) = self.end(place, size) {
            return Some(last);
        }
        if size < MIN_SIZE || behind == end {
            return None;
        }
        let next = copy.word(behind.checked_add(SIZE)?)?;
        if next & PREVIOUS_IN_USE == 0 {
            let is_confirmed = copy.word(behind)? == size;
            return is_confirmed.then_some(Chunk { address: place, size, state: State::Binned });
        }
        let is_of_arena = (word & NON_MAIN == 0) == self.is_main;
        is_of_arena.then_some(Chunk { address: place, size, state: State::Live })
    }

    /// The top chunk, or what a part without one ends with (`sysmalloc`): a header of size 16 or
    /// 32 and one of size 0. Two headers of size 16 end memory of the main arena behind which
    /// another user of `brk` has put its own.
    fn end(self, place: u64, size: u64) -> Option<Chunk> {
        let end = self.part.range.end;
        let chunk = |size, state| Some(Chunk { address: place, size, state });
        if self.part.has_top {
            let is_fence = self.is_main && size == HEADER;
            return match place + size {
                behind if behind == end && size >= MIN_SIZE => chunk(size, State::Top),
                _ if is_fence => chunk(size, State::Own),
                _ => None,
            };
        }
        match (size, end - place) {
            (0, HEADER) => chunk(HEADER, State::Own),
            (HEADER, HEADER) if self.is_main => chunk(size, State::Own),
            (HEADER | MIN_SIZE, rest) if rest == size + HEADER => chunk(size, State::Own),
            _ => None,
        }
    }
}
