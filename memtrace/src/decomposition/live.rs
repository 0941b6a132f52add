//! How much of the recorded live memory is resident.

use std::{cmp::Reverse, collections::HashMap, time::Instant};

use memtrace_abi::{
    allocation::{Allocation, Place, place},
    mapping::Range,
};

use super::PATIENCE;
use crate::{
    heap,
    pages::Holders,
    process::{Process, memory::PAGE_BYTES},
    profile::{Amount, Live},
};

/// Smaller blocks lie among others on pages that are in use; their pages are not looked at.
const LARGE: u64 = 64 << 10;
/// Large blocks that are told apart, at most; it is 8 GiB that they have at least.
const MAX_BLOCKS: usize = 1 << 17;
/// Blocks from this size on are mostly reserved, and before Linux 6.7 take long to look at.
const VAST: u64 = 64 << 30;
/// Blocks that hold whole pages and are told apart, at most: 24 MiB of them.
const MAX_HOLDERS: usize = 1 << 20;

/// The live allocations of a process, as recorded.
#[derive(Clone, Debug, Default)]
pub struct LiveBlocks {
    /// Bytes that are taken as resident.
    assumed: u64,
    /// Bytes that glibc's malloc takes for blocks beyond what was asked for.
    overhead: u64,
    large: Vec<Block>,
    /// Blocks among others that may hold whole pages, with their stacks.
    holders: Vec<(Range, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    range: Range,
    /// Bytes that it stands for; more than it has when sampled.
    bytes: u64,
    stack: u64,
}

/// What of the live allocations is in memory.
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// All together.
    pub live: Live,
    /// Bytes and blocks that are not in memory, by the stack that allocated them.
    pub absent: HashMap<u64, Amount>,
}

impl LiveBlocks {
    /// Takes in an allocation.
    pub fn add(&mut self, Place { address, kind, .. }: Place, allocation: &Allocation) {
        if kind == place::BLOCK {
            self.overhead = self.overhead.saturating_add(overhead(allocation));
        }
        let Allocation { size, bytes, stack, .. } = *allocation;
        let range = address.checked_add(size).map(|end| Range { start: address, end });
        let is_holder = kind == place::BLOCK && size >= PAGE_BYTES && !has_mapping(address);
        if let Some(range) = range.filter(|_| is_holder && self.holders.len() < MAX_HOLDERS) {
            self.holders.push((range, stack));
        }
        match range.filter(|_| size >= LARGE) {
            Some(range) if self.large.len() < MAX_BLOCKS => {
                self.large.push(Block { range, bytes, stack });
            }
            _ => self.assumed = self.assumed.saturating_add(bytes),
        }
    }

    /// Which pages lie in which blocks.
    #[must_use]
    pub fn holders(&self) -> Holders {
        self.holders.iter().copied().collect()
    }

    /// What glibc's malloc takes for these blocks beyond what was asked for.
    pub(super) const fn overhead(&self) -> u64 {
        self.overhead
    }

    /// Looks at the pages of the large blocks, largest first but for vast ones, for as long as there is
    /// time; what is left then is taken as resident, vast ones as not.
    pub(super) fn measure(&self, process: &Process) -> Presence {
        let mut blocks = self.large.clone();
        blocks.sort_by_key(|block| {
            let size = block.range.end - block.range.start;
            (size >= VAST, Reverse(size))
        });
        let (deadline, memory) = (Instant::now() + PATIENCE, process.memory());
        let live = Live { resident: self.assumed, absent: 0 };
        let mut presence = Presence { live, absent: HashMap::new() };
        for block in &blocks {
            let size = block.range.end - block.range.start;
            let otherwise = if size < VAST { size } else { 0 };
            let resident = memory.resident(block.range, deadline).unwrap_or(otherwise);
            let bytes = u128::from(block.bytes) * u128::from(resident) / u128::from(size);
            let bytes = (bytes as u64).min(block.bytes);
            let absent = Amount { bytes: block.bytes - bytes, objects: 1 };
            let live = &mut presence.live;
            live.resident = live.resident.saturating_add(bytes);
            live.absent = live.absent.saturating_add(absent.bytes);
            if absent.bytes > 0 {
                *presence.absent.entry(block.stack).or_default() += absent;
            }
        }
        presence
    }
}

/// Whether glibc has probably made a mapping for this block alone, in which it follows the header of
/// the chunk (`sysmalloc_mmap` in malloc/malloc.c). Nobody has touched its pages before, so other
/// touches in it tell more than who asked for it.
const fn has_mapping(address: u64) -> bool {
    address % PAGE_BYTES == 16
}

/// Headers and rounding of the blocks that an allocation stands for.
fn overhead(allocation: &Allocation) -> u64 {
    let Allocation { size, bytes, .. } = *allocation;
    let each = heap::size_for(size).saturating_sub(size);
    let blocks = u128::from(bytes) * u128::from(each) / u128::from(size.max(1));
    u64::try_from(blocks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_a_header_and_is_rounded() {
        let overhead = |size, bytes| overhead(&Allocation { size, bytes, ..Allocation::default() });
        assert_eq!([1, 24, 25, 40, 2000].map(|size| overhead(size, size)), [31, 8, 23, 8, 16]);
        // One that was sampled stands for many; one of nothing has nothing that was asked for.
        assert_eq!((overhead(24, 240), overhead(0, 0)), (80, 0));
    }
}
