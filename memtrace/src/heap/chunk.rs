//! Chunks: what glibc's malloc cuts memory into, and a compact list of them. Header layout of
//! `struct malloc_chunk` (malloc/malloc.c), the same in glibc 2.28 to 2.43.

use std::iter;

use memtrace_abi::mapping::Range;

/// Chunks lie at multiples of this and have sizes that are multiples of it (`MALLOC_ALIGNMENT`).
pub const ALIGNMENT: u64 = 16;
/// From the start of a chunk to the memory that the program gets (`CHUNK_HDR_SZ`).
pub const HEADER: u64 = 16;
/// The smallest chunk (`MINSIZE`).
pub const MIN_SIZE: u64 = 32;
/// From the start of a chunk to its size, whose low three bits are flags.
pub(crate) const SIZE: u64 = 8;

/// The flags of a size (`PREV_INUSE`, `IS_MMAPPED`, `NON_MAIN_ARENA`).
pub(crate) const PREVIOUS_IN_USE: u64 = 1;
pub(crate) const MAPPED: u64 = 2;
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
pub(crate) const fn size_of(word: u64) -> u64 {
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

/// Chunks without gaps between them, packed: one byte for each of up to 464 bytes, four for each of
/// up to 1 MiB, eight for each larger one. A head holds the state and a small size or what stands for
/// a larger one; then comes the size, and the head again, so that the list can be read both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunks {
    start: u64,
    end: u64,
    packed: Vec<u8>,
}

/// The low bits of a head, which are the state.
const STATE_BITS: u32 = 3;
/// In place of a size: it follows in two bytes, or in six.
const MEDIUM: u8 = 30;
const LARGE: u8 = 31;
/// Units of the alignment that six bytes can tell: all that there are.
const MAX_UNITS: u64 = (1 << 48) - 1;

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
        let units = (size / ALIGNMENT).min(MAX_UNITS);
        self.end = self.end.saturating_add(units * ALIGNMENT);
        let code = match units {
            0..30 => units as u8,
            30..0x1_0000 => MEDIUM,
            _ => LARGE,
        };
        let head = code << STATE_BITS | state as u8;
        self.packed.push(head);
        if let length @ 2.. = length(head) {
            self.packed.extend_from_slice(&units.to_le_bytes()[..length - 2]);
            self.packed.push(head);
        }
    }

    /// Takes the last chunk away.
    pub fn pop(&mut self) -> Option<Chunk> {
        let head = *self.packed.last()?;
        let entry = self.packed.len().checked_sub(length(head))?;
        let size = size(self.packed.get(entry..)?);
        self.packed.truncate(entry);
        self.end -= size;
        Some(Chunk { address: self.end, size, state: state(head) })
    }

    /// The chunks, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = Chunk> {
        let (mut address, mut rest) = (self.start, &*self.packed);
        iter::from_fn(move || {
            let (entry, behind) = rest.split_at_checked(length(*rest.first()?))?;
            let chunk = Chunk { address, size: size(entry), state: state(entry[0]) };
            (address, rest) = (chunk.end(), behind);
            Some(chunk)
        })
    }

    /// Gives chunks another state, where `change` has one for them.
    pub fn restate(&mut self, mut change: impl FnMut(Chunk) -> Option<State>) {
        let (mut address, mut rest) = (self.start, &mut *self.packed);
        while let Some((entry, behind)) = split(rest) {
            let chunk = Chunk { address, size: size(entry), state: state(entry[0]) };
            if let Some(state) = change(chunk) {
                let head = entry[0] & !((1 << STATE_BITS) - 1) | state as u8;
                let last = entry.len() - 1;
                (entry[0], entry[last]) = (head, head);
            }
            (address, rest) = (chunk.end(), behind);
        }
    }

    /// Bytes of memory that the list takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.packed.len()
    }
}

/// Bytes of the entry that begins, or ends, with this head.
const fn length(head: u8) -> usize {
    match head >> STATE_BITS {
        MEDIUM => 4,
        LARGE => 8,
        _ => 1,
    }
}

fn split(rest: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let length = length(*rest.first()?);
    rest.split_at_mut_checked(length)
}

/// The size that an entry tells.
fn size(entry: &[u8]) -> u64 {
    let units = match entry {
        [_, size @ .., _] => {
            let mut units = [0; 8];
            units[..size.len()].copy_from_slice(size);
            u64::from_le_bytes(units)
        }
        [head] => u64::from(head >> STATE_BITS),
        [] => 0,
    };
    units * ALIGNMENT
}

/// The state in the low bits.
pub(super) fn state(head: u8) -> State {
    State::ALL[(head & ((1 << STATE_BITS) - 1)) as usize % State::ALL.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_pushed_comes_out(
            sizes in prop::collection::vec((prop_oneof![0_u64..100, 65_500_u64..65_600, 1_u64 << 26..1 << 40], 0_usize..7), 0..50)
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
