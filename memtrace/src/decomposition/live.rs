//! How much of the recorded live memory is resident.

use std::{cmp::Reverse, collections::HashMap, time::Instant};

use memtrace_abi::{allocation::Allocation, mapping::Range};

use super::PATIENCE;
use crate::{
    process::Process,
    profile::{Amount, Live},
};

/// Smaller blocks lie among others on pages that are in use; their pages are not looked at.
const LARGE: u64 = 64 << 10;
/// Large blocks that are told apart, at most; it is 8 GiB that they have at least.
const MAX_BLOCKS: usize = 1 << 17;

/// The live allocations of a process, as recorded.
#[derive(Clone, Debug, Default)]
pub struct LiveBlocks {
    /// Bytes that are taken as resident.
    assumed: u64,
    large: Vec<Block>,
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
    /// Takes in an allocation at an address.
    pub fn add(&mut self, address: u64, allocation: &Allocation) {
        let end = address.checked_add(allocation.size).filter(|_| allocation.size >= LARGE);
        match end {
            Some(end) if self.large.len() < MAX_BLOCKS => {
                let range = Range { start: address, end };
                let Allocation { bytes, stack, .. } = *allocation;
                self.large.push(Block { range, bytes, stack });
            }
            _ => self.assumed = self.assumed.saturating_add(allocation.bytes),
        }
    }

    /// Looks at the pages of the large blocks, largest first, for as long as there is time; what
    /// is left then is taken as resident.
    pub(super) fn measure(&self, process: &Process) -> Presence {
        let mut blocks = self.large.clone();
        blocks.sort_by_key(|block| Reverse(block.range.end - block.range.start));
        let (deadline, memory) = (Instant::now() + PATIENCE, process.memory());
        let resident = |range| {
            let in_time = Instant::now() < deadline;
            in_time.then(|| memory.resident(range).ok()).flatten()
        };
        let live = Live { resident: self.assumed, absent: 0 };
        let mut presence = Presence { live, absent: HashMap::new() };
        for block in &blocks {
            let size = block.range.end - block.range.start;
            let resident = resident(block.range).unwrap_or(size);
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
