//! Chunks that free lists lead to, eight bytes each.

use super::chunk::{ALIGNMENT, Chunk, State, state};

/// Chunks that are kept of all lists together: 16 MiB.
const MAX_LISTED: usize = 2 << 20;
/// Bits of the state, and of the size in units of the alignment.
const STATE_BITS: u32 = 3;
const SIZE_BITS: u32 = 18;

/// Chunks with their state, by address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// Sorted after [`Listed::sort`]: the address is highest.
    packed: Vec<u64>,
}

impl Listed {
    /// Adds a chunk; `false` if there is no room for it, or it is none that a free list may hold.
    pub(super) fn add(&mut self, chunk: &Chunk) -> bool {
        let units = chunk.size / ALIGNMENT;
        let fits = self.packed.len() < MAX_LISTED
            && units < 1 << SIZE_BITS
            && chunk.address < 1 << 47
            && chunk.address.is_multiple_of(ALIGNMENT);
        if fits {
            let place = (chunk.address / ALIGNMENT) << (SIZE_BITS + STATE_BITS);
            self.packed.push(place | units << STATE_BITS | chunk.state as u64);
        }
        fits
    }

    /// Adds those of another one, as far as there is room.
    pub(super) fn append(&mut self, other: &Self) {
        let room = MAX_LISTED - self.packed.len();
        self.packed.extend(other.packed.iter().take(room));
    }

    /// Must be called before it is asked.
    pub(super) fn sort(&mut self) {
        self.packed.sort_unstable();
        self.packed.dedup();
    }

    /// Keeps what is in the other one as well; both are sorted.
    pub(super) fn keep_common(&mut self, other: &Self) {
        let mut rest = other.packed.iter().peekable();
        self.packed.retain(|packed| {
            while rest.next_if(|next| *next < packed).is_some() {}
            rest.peek() == Some(&packed)
        });
    }

    /// Is asked for one chunk after the other, by address, from `start` on: the state of each that is
    /// listed with its size.
    pub(super) fn states(&self, start: u64) -> impl FnMut(Chunk) -> Option<State> {
        let behind = |address: u64| {
            move |packed: &u64| packed >> (SIZE_BITS + STATE_BITS) < address / ALIGNMENT
        };
        let mut rest = &self.packed[self.packed.partition_point(behind(start))..];
        move |chunk| {
            while rest.first().is_some_and(behind(chunk.address)) {
                rest = &rest[1..];
            }
            let packed = *rest.first()?;
            let wanted = ((chunk.address / ALIGNMENT) << SIZE_BITS) | (chunk.size / ALIGNMENT);
            (packed >> STATE_BITS == wanted).then(|| state(packed as u8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(address: u64, size: u64, state: State) -> Chunk {
        Chunk { address, size, state }
    }

    #[test]
    fn chunks_are_found_by_address_and_size() {
        let mut listed = Listed::default();
        for (address, size) in
            [(0x7fff_ffff_fff0, 32), (64, 48), (0x5000, (4 << 20) - 16), (64, 48)]
        {
            assert!(listed.add(&chunk(address, size, State::Fast)));
        }
        assert!(!listed.add(&chunk(0x5000, 8 << 20, State::Fast)));
        assert!(!listed.add(&chunk(0x5008, 32, State::Fast)));
        listed.sort();
        assert_eq!(listed.packed.len(), 3);
        let mut states = listed.states(0);
        let mut state = |address, size| states(chunk(address, size, State::Live));
        assert_eq!((state(0, 64), state(64, 32)), (None, None));
        assert_eq!((state(64, 48), state(80, 48)), (Some(State::Fast), None));
        assert_eq!(state(0x7fff_ffff_fff0, 32), Some(State::Fast));
        assert_eq!(listed.states(80)(chunk(64, 48, State::Live)), None);
    }

    #[test]
    fn what_only_one_look_found_is_dropped() {
        let list = |addresses: &[u64]| {
            let mut listed = Listed::default();
            for address in addresses {
                listed.add(&chunk(*address, 32, State::Fast));
            }
            listed.sort();
            listed
        };
        let mut now = list(&[32, 64, 96, 160]);
        now.keep_common(&list(&[16, 64, 112, 160, 320]));
        assert_eq!(now, list(&[64, 160]));
    }
}
