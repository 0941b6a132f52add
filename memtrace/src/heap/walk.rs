//! From one chunk to the next, through a part of an arena that may change meanwhile.
//!
//! Of a process that stands still one look is enough. Else the chunks of each stretch are looked at
//! twice. They stand if
//! - they are the same both times;
//! - in between there was a moment at which no thread was in the midst of a change;
//! - the first of them was a chunk at that moment: nothing had changed since the stretch before it
//!   was looked at, or what it was reached from is still there, or it is free. A free chunk says so
//!   at both of its ends, and what takes it up writes over one of them.
//!
//! Where this fails, the walk looks at the memory anew, in shorter and shorter stretches, from a
//! free chunk on that the arena itself names. If that does not help, it goes on behind, and what
//! lies between is unknown.

use super::{
    anchors::{anchor_before, anchor_behind},
    arena::{Descriptor, Finder, Part},
    chunk::{Chunk, Chunks, State},
    copy::{ALONG, ANYWHERE, Copy},
    memory::Memory,
    step::Rules,
};

/// Looks at one place before it is given up.
const MAX_LOOKS: u32 = 28;
/// How many of them are at shorter and shorter stretches, one after the other without a pause.
const HASTY_LOOKS: u32 = 4;
/// Looks in one part.
const MAX_ALL_LOOKS: u32 = 8192;
/// How often a thread that holds the arena's lock is waited for before looking again.
const MAX_WAITS: u32 = 50;
/// Chunks that are looked at again to see whether the next one can still be reached from them.
const MAX_TAIL: usize = 64;

/// What a walk has found.
pub(super) struct Walked {
    /// Every chunk of the part, or none if the part is gone.
    pub(super) chunks: Option<Chunks>,
    /// How often it had to look again.
    pub(super) looks: u32,
}

/// A walk through one part of an arena.
pub(super) struct Walk<'a, M> {
    finder: &'a Finder<'a, M>,
    arena: u64,
    rules: Rules,
    copy: Copy<'a, M>,
    /// That of the memory, while nothing seems to change it: one look at everything will do then.
    rest: Option<u64>,
    /// What stands.
    chunks: Chunks,
    /// The arena at the moment of which the last of these are.
    moment: Option<Descriptor>,
    /// What was seen once: the chunks behind those, up to the end of a window of the copy.
    stretch: Vec<Chunk>,
    /// How far the walk had come when it could not go on, and how often it has looked since.
    obstacle: (u64, u32),
    looks: u32,
    /// Bytes that the list of chunks may take.
    room: usize,
    /// Whether there may be no chunk behind those that stand.
    is_lost: bool,
    is_there: bool,
}

impl<'a, M: Memory> Walk<'a, M> {
    /// The list of chunks may take `room` bytes; what lies behind its end is unknown.
    pub(super) fn new(finder: &'a Finder<'a, M>, arena: u64, part: Part, room: usize) -> Self {
        let mut chunks = Chunks::new(part.range.start);
        if part.first > part.range.start {
            chunks.push(part.first - part.range.start, State::Own);
        }
        Self {
            finder,
            arena,
            rules: Rules { part, is_main: arena == finder.layout.main_arena },
            copy: Copy::new(finder.memory, ALONG),
            rest: None,
            chunks,
            moment: None,
            stretch: Vec::new(),
            obstacle: (0, 0),
            looks: 0,
            room,
            is_lost: false,
            is_there: true,
        }
    }

    pub(super) fn run(mut self) -> Walked {
        self.rest = self.finder.memory.rest();
        self.go();
        if self.rest.is_some() && self.finder.memory.rest() != self.rest {
            self = Self::new(self.finder, self.arena, self.rules.part, self.room);
            self.go();
        }
        Walked { chunks: self.is_there.then_some(self.chunks), looks: self.looks }
    }

    fn go(&mut self) {
        while self.is_there && self.come() < self.rules.part.range.end {
            let is_full = self.chunks.bytes() >= self.room;
            let goes_on = if self.is_over() { self.confirm() } else { self.advance() };
            if is_full || !goes_on && !self.look_again() && !self.jump() {
                self.give_up();
            }
        }
    }

    /// Up to where chunks stand.
    fn come(&self) -> u64 {
        self.chunks.range().end
    }

    fn place(&self) -> u64 {
        self.stretch.last().map_or(self.come(), Chunk::end)
    }

    /// Whether the stretch has as many chunks as are looked at together.
    fn is_over(&self) -> bool {
        let window = |address: u64| address / self.copy.window_size();
        let (place, end) = (self.place(), self.rules.part.range.end);
        let first = self.stretch.first().map(|chunk| chunk.address);
        first.is_some_and(|first| place >= end || window(first) != window(place))
    }

    fn advance(&mut self) -> bool {
        let place = self.place();
        let next = self.rules.chunk(&mut self.copy, place);
        self.stretch.extend(next);
        self.is_lost = next.is_none();
        next.is_some()
    }

    /// Looks at the stretch a second time; whether its chunks stand.
    ///
    /// `malloc` writes the size of what it hands out before the header of the rest, so that for some
    /// instructions there is a header too few. A thread may be kept from going on just there, for
    /// milliseconds. But then it holds the lock, if there are several threads, and the arena has the
    /// rest as its top or as its newest free chunk, or soon will.
    fn confirm(&mut self) -> bool {
        let stretch = std::mem::take(&mut self.stretch);
        let (Some(arena), Some(first)) = (self.settled(), stretch.first()) else { return false };
        let is_same = self.rest.is_some() || self.is_same(&stretch);
        self.is_lost = !self.is_reached(first, &arena);
        let is_known = |free| is_free(&stretch, free);
        let stands = is_same && !self.is_lost && arena.heads().all(is_known);
        if stands {
            for chunk in &stretch {
                self.chunks.push(chunk.size, chunk.state);
            }
            self.moment = Some(arena);
            self.copy.widen();
        }
        stands
    }

    fn is_same(&mut self, stretch: &[Chunk]) -> bool {
        stretch.first().inspect(|first| self.copy.refresh(first.address));
        let mut chunk = |address| self.rules.chunk(&mut self.copy, address);
        stretch.iter().all(|seen| chunk(seen.address).as_ref() == Some(seen))
    }

    /// Whether the first chunk of a stretch was one at the moment at which the arena was so.
    fn is_reached(&mut self, first: &Chunk, arena: &Descriptor) -> bool {
        let is_same_moment = |moment: &Descriptor| !arena.differs(moment);
        first.state == State::Binned
            || first.address == self.rules.part.first
            || self.moment.as_ref().is_some_and(is_same_moment)
            || self.is_tail_there()
    }

    /// Whether the last chunks that stand are as they were, from a free one on.
    fn is_tail_there(&mut self) -> bool {
        let mut tail = Vec::new();
        while tail.len() < MAX_TAIL
            && tail.last().is_none_or(|chunk: &Chunk| chunk.state == State::Live)
            && let Some(chunk) = self.chunks.pop()
        {
            tail.push(chunk);
        }
        for chunk in tail.iter().rev() {
            self.chunks.push(chunk.size, chunk.state);
        }
        let mut copy = Copy::new(self.finder.memory, ANYWHERE);
        let first = self.rules.part.first;
        let mut tail = tail.iter().filter(|chunk| chunk.address >= first);
        tail.all(|chunk| self.rules.chunk(&mut copy, chunk.address).as_ref() == Some(chunk))
    }

    /// The arena, if no thread is in the midst of changing it: none holds its lock, or one that did
    /// has done something since, or all of them wait for the kernel.
    fn settled(&self) -> Option<Descriptor> {
        let first = self.finder.descriptor(self.arena)?;
        for _ in 0..HASTY_LOOKS {
            let arena = self.finder.descriptor(self.arena)?;
            if !arena.is_locked() || arena.differs(&first) {
                return Some(arena);
            }
        }
        self.finder.memory.rest().map(|_| first)
    }

    /// Waits until no thread holds the arena's lock, or the one that does goes on.
    fn wait(&self) {
        let mut last = None;
        for _ in 0..MAX_WAITS {
            let Some(arena) = self.finder.descriptor(self.arena) else { break };
            let goes_on = |last: &Descriptor| arena.differs(last);
            if !arena.is_locked() || last.as_ref().is_some_and(goes_on) {
                break;
            }
            let is_known = last.replace(arena).is_some();
            if is_known && !self.finder.memory.wait() {
                break;
            }
        }
    }

    /// Forgets what was read, and after some looks what stands since the last free chunk that the
    /// arena names; `false` if that was tried often enough.
    fn look_again(&mut self) -> bool {
        self.stretch.clear();
        if self.come() > self.obstacle.0 {
            self.obstacle = (self.come(), 0);
        }
        if self.obstacle.1 >= MAX_LOOKS || self.looks >= MAX_ALL_LOOKS {
            return false;
        }
        self.obstacle.1 += 1;
        self.looks += 1;
        self.copy.narrow();
        if self.obstacle.1 > HASTY_LOOKS {
            self.finder.memory.wait();
        }
        self.wait();
        match self.finder.again(self.arena, self.rules.part) {
            Some(part) => self.rules.part = part,
            None => self.is_there = false,
        }
        if self.is_lost && self.obstacle.1 > 1 {
            self.go_back();
        }
        true
    }

    /// Goes back to where there is a chunk now.
    fn go_back(&mut self) {
        let part = self.rules.part;
        let before = part.first..self.come().min(part.range.end);
        let place = anchor_before(self.finder, self.arena, before).unwrap_or(part.first);
        while self.come() > place && self.chunks.pop().is_some() {}
        if self.come() < place {
            // A part of a chunk that is there no more.
            let (state, size) = if place == part.first {
                (State::Own, place - self.come())
            } else {
                (State::Unknown, place - self.come())
            };
            self.chunks.push(size, state);
        }
    }

    /// Leaves out everything up to the next chunk that the arena itself names; `false` if none.
    fn jump(&mut self) -> bool {
        let behind = self.come().max(self.obstacle.0)..self.rules.part.range.end;
        let Some(target) = anchor_behind(self.finder, self.arena, behind) else { return false };
        self.chunks.push(target - self.come(), State::Unknown);
        self.copy.forget();
        true
    }

    /// What is left of the part stays unknown.
    fn give_up(&mut self) {
        let rest = self.rules.part.range.end.saturating_sub(self.come());
        self.chunks.push(rest, State::Unknown);
    }
}

/// Whether the address is that of a free chunk, unless the stretch is elsewhere.
fn is_free(stretch: &[Chunk], address: u64) -> bool {
    let behind = stretch.partition_point(|chunk| chunk.address <= address);
    let Some(chunk) = stretch[..behind].last().filter(|chunk| chunk.end() > address) else {
        return true;
    };
    chunk.address == address && chunk.state.is_free()
}
