//! From one chunk to the next, through a part of an arena that may change meanwhile.
//!
//! A chunk is believed if its size leads to another one, if a free chunk's size stands at its end
//! as well, if a live one says which kind of arena it is of, and if the last of all ends exactly
//! where the part ends. Where this fails, the walk goes back and looks at the memory anew; if that
//! does not help, it goes on at the next chunk that the arena's own lists name, and what lies
//! between is unknown.

use std::collections::BTreeSet;

use super::{
    arena::{BINS, Finder, Part},
    chunk::{
        ALIGNMENT, Chunks, HEADER, MAPPED, MIN_SIZE, NON_MAIN, PREVIOUS_IN_USE, SIZE, State,
        size_of,
    },
    memory::{ALONG, ANYWHERE, Copy, Memory},
};

/// Looks at one place before it is given up.
const MAX_LOOKS: u32 = 6;
/// Bytes between obstacles that are told apart.
const NEAR: u64 = 256 << 10;
/// Chunks that the first look back takes; each further one takes four times as many.
const FIRST_LOOK: usize = 16;
/// Looks in one part.
const MAX_ALL_LOOKS: u32 = 2048;
/// Entries of one part's list: 256 MiB.
const MAX_ENTRIES: usize = 64 << 20;
/// Free chunks that are asked for where the walk cannot go on.
const MAX_ANCHORS: usize = 16_384;

/// What comes next.
enum Step {
    Chunk(u64, State),
    /// The last of the part.
    Last(u64, State),
    Broken,
}

/// A walk through one part of an arena.
pub(super) struct Walk<'a, M> {
    finder: &'a Finder<'a, M>,
    arena: u64,
    part: Part,
    copy: Copy<'a, M>,
    chunks: Chunks,
    /// The place that cannot be passed, and how often it was looked at.
    obstacle: (u64, u32),
    looks: u32,
    is_there: bool,
    anchors: Option<BTreeSet<u64>>,
}

impl<'a, M: Memory> Walk<'a, M> {
    pub(super) fn new(finder: &'a Finder<'a, M>, arena: u64, part: Part) -> Self {
        let mut chunks = Chunks::new(part.range.start);
        if part.first > part.range.start {
            chunks.push(part.first - part.range.start, State::Own);
        }
        let copy = Copy::new(finder.memory, ALONG);
        Self {
            finder,
            arena,
            part,
            copy,
            chunks,
            obstacle: (0, 0),
            looks: 0,
            is_there: true,
            anchors: None,
        }
    }

    /// Every chunk of the part, or none if the part is gone, and how often the walk had to look
    /// again.
    pub(super) fn run(mut self) -> (Option<Chunks>, u32) {
        self.go();
        (self.is_there.then_some(self.chunks), self.looks)
    }

    fn go(&mut self) {
        while self.is_there {
            let place = self.chunks.range().end;
            if self.chunks.len() >= MAX_ENTRIES {
                return self.give_up();
            }
            match self.step(place) {
                Step::Chunk(size, state) => self.chunks.push(size, state),
                Step::Last(size, state) => {
                    return self.chunks.push(size, state);
                }
                Step::Broken if self.look_again(place) => {}
                Step::Broken if self.jump() => {}
                Step::Broken => return,
            }
        }
    }

    fn is_main(&self) -> bool {
        self.arena == self.finder.layout.main_arena
    }

    fn step(&mut self, place: u64) -> Step {
        self.known_step(place).unwrap_or(Step::Broken)
    }

    fn known_step(&mut self, place: u64) -> Option<Step> {
        let end = self.part.range.end;
        if place < self.part.first || place >= end {
            return None;
        }
        let word = self.copy.word(place.checked_add(SIZE)?)?;
        let size = size_of(word);
        let behind = place.checked_add(size)?;
        if word & MAPPED != 0 || !size.is_multiple_of(ALIGNMENT) || behind > end {
            return None;
        }
        if let Some(step) = self.end(place, size) {
            return Some(step);
        }
        if size < MIN_SIZE || behind == end {
            return None;
        }
        let next = self.copy.word(behind.checked_add(SIZE)?)?;
        let is_free = next & PREVIOUS_IN_USE == 0;
        if is_free {
            let is_confirmed = self.copy.word(behind)? == size;
            return is_confirmed.then_some(Step::Chunk(size, State::Binned));
        }
        let is_of_arena = (word & NON_MAIN == 0) == self.is_main();
        is_of_arena.then_some(Step::Chunk(size, State::Live))
    }

    /// The top chunk, or what a part without one ends with (`sysmalloc`): a header of size 16 or
    /// 32 and one of size 0. Two headers of size 16 end memory of the main arena behind which
    /// another user of `brk` has put its own.
    fn end(&mut self, place: u64, size: u64) -> Option<Step> {
        let end = self.part.range.end;
        if self.part.has_top {
            let is_fence = self.is_main() && size == HEADER;
            return match place + size {
                behind if behind == end && size >= MIN_SIZE => Some(Step::Last(size, State::Top)),
                _ if is_fence => Some(Step::Chunk(size, State::Own)),
                _ => None,
            };
        }
        match (size, end - place) {
            (0, HEADER) => Some(Step::Last(HEADER, State::Own)),
            (HEADER | MIN_SIZE, rest) if rest == size + HEADER => {
                Some(Step::Chunk(size, State::Own))
            }
            _ => None,
        }
    }

    /// Goes back and forgets what was read; `false` if that was tried often enough.
    fn look_again(&mut self, place: u64) -> bool {
        if place.abs_diff(self.obstacle.0) > NEAR {
            self.obstacle = (place, 0);
        }
        if self.obstacle.1 >= MAX_LOOKS || self.looks >= MAX_ALL_LOOKS {
            return false;
        }
        let Some(part) = self.finder.again(self.arena, self.part) else {
            self.is_there = false;
            return true;
        };
        self.part = part;
        for _ in 0..FIRST_LOOK << (2 * self.obstacle.1) {
            if self.chunks.range().end <= self.part.first || !self.step_back() {
                break;
            }
        }
        self.obstacle.1 += 1;
        self.looks += 1;
        self.copy.forget();
        true
    }

    /// Takes the last chunk away, unless it is a stretch that was given up before.
    fn step_back(&mut self) -> bool {
        let last = self.chunks.pop();
        let lost = last.filter(|chunk| chunk.state == State::Unknown);
        lost.inspect(|chunk| self.chunks.push(chunk.size, State::Unknown));
        last.is_some() && lost.is_none()
    }

    /// Leaves out everything up to the next chunk that the arena itself names; `false` if none.
    fn jump(&mut self) -> bool {
        let place = self.chunks.range().end;
        let Some(target) = self.anchor_behind(place) else {
            self.give_up();
            return false;
        };
        self.chunks.push(target - place, State::Unknown);
        self.obstacle = (target, MAX_LOOKS);
        true
    }

    /// What is left of the part stays unknown.
    fn give_up(&mut self) {
        let rest = self.part.range.end.saturating_sub(self.chunks.range().end);
        if rest > 0 {
            self.chunks.push(rest, State::Unknown);
        }
    }

    fn anchor_behind(&mut self, place: u64) -> Option<u64> {
        let end = self.part.range.end;
        if self.anchors.is_none() {
            self.anchors = Some(self.anchors());
        }
        let anchors = self.anchors.as_ref()?;
        anchors.range(place.checked_add(1)?..).find(|anchor| **anchor < end).copied()
    }

    /// The chunks that the arena's bins and its top lead to.
    fn anchors(&mut self) -> BTreeSet<u64> {
        let mut anchors = BTreeSet::new();
        let Some(arena) = self.finder.descriptor(self.arena) else { return anchors };
        let mut copy = Copy::new(self.finder.memory, ANYWHERE);
        for (index, links) in (0..BINS).zip(arena.bins.chunks_exact(2)) {
            let bin = arena.bin(self.finder.layout, index);
            let mut next = Some(links[0]);
            while let Some(chunk) =
                next.filter(|chunk| *chunk != bin && anchors.len() < MAX_ANCHORS)
            {
                let is_new = chunk.is_multiple_of(ALIGNMENT) && anchors.insert(chunk);
                next = copy.word(chunk.wrapping_add(HEADER)).filter(|_| is_new);
            }
        }
        anchors.insert(arena.top);
        anchors
    }
}
