//! Chunks: what glibc's malloc cuts memory into, and a compact list of them. Header layout of
//! `struct malloc_chunk` (malloc/malloc.c), the same in glibc 2.28 to 2.43.

use memtrace_abi::mapping::Range;

/// Chunks lie at multiples of this and have sizes that are multiples of it (`MALLOC_ALIGNMENT`).
pub const ALIGNMENT: u64 = 16;
/// From the start of a chunk to the memory that the program gets (`CHUNK_HDR_SZ`).
pub const HEADER: u64 = 16;
/// The smallest chunk (`MINSIZE`).
pub const MIN_SIZE: u64 = 32;
/// From the start of a chunk to its size, whose low three bits are flags.
pub(super) const SIZE: u64 = 8;

/// The flags of a size (`PREV_INUSE`, `IS_MMAPPED`, `NON_MAIN_ARENA`).
pub(super) const PREVIOUS_IN_USE: u64 = 1;
pub(super) const MAPPED: u64 = 2;
pub(super) const NON_MAIN: u64 = 4;
const FLAGS: u64 = 7;

/// Bytes of the chunk that a request of `bytes` gets (`checked_request2size`); a little more where a
/// rest would be too small for a chunk of its own.
#[must_use]
pub const fn size_for(bytes: u64) -> u64 {
    let size = bytes.saturating_add(SIZE + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if size < MIN_SIZE { MIN_SIZE } else { size }
}

/// The size without its flags.
pub(super) const fn size_of(word: u64) -> u64 {
    word & !FLAGS
}

/// What a chunk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Held by the program.
    Live,
    /// Free, merged with its free neighbours: in the unsorted, a small or a large bin.
    Binned,
    /// Free, in a fastbin: looks like a live one to its neighbours.
    Fast,
    /// Free, kept by a thread for itself (tcache): looks like a live one to its neighbours.
    Cached,
    /// Free, the end of the arena, from which new chunks are cut.
    Top,
    /// The allocator's own: descriptors of arenas, ends of parts.
    Own,
    /// Could not be read or understood.
    Unknown,
}

impl State {
    const ALL: [Self; 7] =
        [Self::Live, Self::Binned, Self::Fast, Self::Cached, Self::Top, Self::Own, Self::Unknown];

    /// Whether the program has given the memory back, or never got it.
    #[must_use]
    pub const fn is_free(self) -> bool {
        matches!(self, Self::Binned | Self::Fast | Self::Cached | Self::Top)
    }
}

/// A chunk of an arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where its header begins.
    pub address: u64,
    /// Bytes, with the header.
    pub size: u64,
    /// What it is.
    pub state: State,
}

impl Chunk {
    /// First address behind it.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.address.wrapping_add(self.size)
    }

    /// The address that the program has, if it is live.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        self.address.wrapping_add(HEADER)
    }

    /// Bytes that the program may use, if it is live (`malloc_usable_size`): all but the size field.
    #[must_use]
    pub const fn usable(&self) -> u64 {
        self.size.saturating_sub(SIZE)
    }
}

/// Chunks without gaps between them, four bytes each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    start: u64,
    end: u64,
    /// Size in units of the alignment, and the state in the low bits. A chunk of 4 GiB or more
    /// takes several entries; all but the last are [`CONTINUED`].
    packed: Vec<u32>,
}

const STATE_BITS: u32 = 3;
const CONTINUED: u32 = 7;
const MAX_UNITS: u64 = (1 << (32 - STATE_BITS)) - 1;

impl Chunks {
    /// No chunks yet; the first will begin at `start`.
    #[must_use]
    pub const fn new(start: u64) -> Self {
        Self { start, end: start, packed: Vec::new() }
    }

    /// What the chunks cover.
    #[must_use]
    pub const fn range(&self) -> Range {
        Range { start: self.start, end: self.end }
    }

    /// Adds a chunk behind the others; its size is cut to a multiple of [`ALIGNMENT`].
    pub fn push(&mut self, size: u64, state: State) {
        let mut units = size / ALIGNMENT;
        self.end = self.end.saturating_add(units * ALIGNMENT);
        while units > MAX_UNITS {
            self.packed.push((MAX_UNITS as u32) << STATE_BITS | CONTINUED);
            units -= MAX_UNITS;
        }
        self.packed.push((units as u32) << STATE_BITS | state as u32);
    }

    /// Takes the last chunk away.
    pub fn pop(&mut self) -> Option<Chunk> {
        let last = self.packed.pop()?;
        let mut units = u64::from(last >> STATE_BITS);
        while let Some(more) = self.packed.pop_if(|packed| *packed & CONTINUED == CONTINUED) {
            units += u64::from(more >> STATE_BITS);
        }
        self.end -= units * ALIGNMENT;
        Some(Chunk { address: self.end, size: units * ALIGNMENT, state: state(last) })
    }

    /// The chunks, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = Chunk> {
        let mut address = self.start;
        let mut units = 0;
        self.packed.iter().filter_map(move |packed| {
            units += u64::from(packed >> STATE_BITS);
            if packed & CONTINUED == CONTINUED {
                return None;
            }
            let chunk = Chunk { address, size: units * ALIGNMENT, state: state(*packed) };
            address = chunk.end();
            units = 0;
            Some(chunk)
        })
    }

    /// Gives chunks another state, where `change` has one for them.
    pub fn restate(&mut self, mut change: impl FnMut(Chunk) -> Option<State>) {
        let mut address = self.start;
        let mut units = 0;
        for packed in &mut self.packed {
            units += u64::from(*packed >> STATE_BITS);
            if *packed & CONTINUED == CONTINUED {
                continue;
            }
            let chunk = Chunk { address, size: units * ALIGNMENT, state: state(*packed) };
            if let Some(state) = change(chunk) {
                *packed = *packed & !CONTINUED | state as u32;
            }
            address = chunk.end();
            units = 0;
        }
    }

    /// Number of entries: at least that of the chunks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packed.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }
}

fn state(packed: u32) -> State {
    State::ALL[(packed & CONTINUED) as usize % State::ALL.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_pushed_comes_out(
            sizes in prop::collection::vec((prop_oneof![1_u64..100, 1_u64 << 26..1 << 34], 0_usize..7), 0..50)
        ) {
            let mut chunks = Chunks::new(0x1000);
            for (units, state) in &sizes {
                chunks.push(units * ALIGNMENT, State::ALL[*state]);
            }
            let listed: Vec<_> = chunks.iter().collect();
            let expected: Vec<_> =
                sizes.iter().map(|(units, state)| (units * ALIGNMENT, State::ALL[*state])).collect();
            let seen: Vec<_> = listed.iter().map(|chunk| (chunk.size, chunk.state)).collect();
            prop_assert_eq!(seen, expected);
            prop_assert!(listed.windows(2).all(|pair| pair[0].end() == pair[1].address));
            prop_assert_eq!(listed.last().map_or(0x1000, Chunk::end), chunks.range().end);
            for chunk in listed.iter().rev() {
                prop_assert_eq!(chunks.pop(), Some(*chunk));
            }
            prop_assert_eq!(chunks.pop(), None);
            prop_assert_eq!(chunks.range(), Range { start: 0x1000, end: 0x1000 });
        }
    }

    #[test]
    fn only_the_state_changes() {
        let mut chunks = Chunks::new(0);
        for size in [32, 8 << 30, 48] {
            chunks.push(size, State::Live);
        }
        chunks.restate(|chunk| (chunk.address == 32).then_some(State::Cached));
        let states: Vec<_> = chunks.iter().map(|chunk| (chunk.size, chunk.state)).collect();
        assert_eq!(states, [(32, State::Live), (8 << 30, State::Cached), (48, State::Live)]);
    }
}
