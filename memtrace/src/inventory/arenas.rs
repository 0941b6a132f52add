//! The arenas and pools of pymalloc (Objects/obmalloc.c), and the blocks in use. The array of
//! arenas is looked for in the interpreter's own data: no symbol names it, but nothing else looks
//! like it.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};

use memtrace_abi::mapping::Range;

use super::reader::Reader;

/// `sizeof(struct arena_object)`.
const ARENA_OBJECT: u64 = 48;
/// The array doubles; no process has more arenas.
const MAX_ARENAS: u64 = 1 << 21;
/// The clock is looked at once for so many of them.
const BETWEEN_LOOKS: u64 = 4096;
/// Data of an interpreter that is searched.
const MAX_DATA: u64 = 16 << 20;
/// Bytes of a pool's head (`POOL_OVERHEAD`).
const POOL_HEAD: u64 = 48;
/// Blocks have sizes that are multiples of this (`ALIGNMENT`), and this many of them.
const UNIT: u64 = 16;
const SIZE_CLASSES: u64 = 32;

/// An arena in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RawArena {
    pub(super) range: Range,
    /// Where it is in the array.
    index: u64,
    /// Pools in it.
    pub(super) pools: u32,
    /// First of the pools that were never used.
    end: u64,
}

/// All arenas in use. Two threads share them: one counts what is in the blocks, the other follows
/// references.
pub(super) struct Arenas {
    /// By address.
    pub(super) list: Vec<RawArena>,
    /// Pools that are known to hold no object that refers to another one: one bit each, of at most 64
    /// in an arena.
    plain: Vec<AtomicU64>,
    pool_bits: u32,
}

impl Arenas {
    pub(super) fn new(mut list: Vec<RawArena>, pool_bits: u32) -> Self {
        list.sort_by_key(|arena| arena.range.start);
        let plain = list.iter().map(|_| AtomicU64::new(0)).collect();
        Self { list, plain, pool_bits }
    }

    /// Where in the list the arena with the address is.
    pub(super) fn position(&self, address: u64) -> Option<usize> {
        let behind = self.list.partition_point(|arena| arena.range.start <= address);
        let position = behind.checked_sub(1)?;
        self.list[position].range.contains(address).then_some(position)
    }

    /// Takes note that the pool with the address holds no object that refers to another one.
    pub(super) fn set_plain(&self, position: usize, address: u64) {
        self.plain[position].fetch_or(self.bit(position, address), Ordering::Relaxed);
    }

    /// Whether that is known of the pool with the address.
    pub(super) fn is_plain(&self, position: usize, address: u64) -> bool {
        self.plain[position].load(Ordering::Relaxed) & self.bit(position, address) != 0
    }

    fn bit(&self, position: usize, address: u64) -> u64 {
        let start = self.list[position].range.start.next_multiple_of(1 << self.pool_bits);
        let number = address.wrapping_sub(start) >> self.pool_bits;
        1_u64.checked_shl(number as u32).unwrap_or(0)
    }
}

/// A pool with blocks in use.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    first: u64,
    /// Bytes of a block.
    pub(super) block_size: u64,
    /// One bit a block that was used once: whether it is free now.
    free: [u64; 16],
    /// Blocks that were used once.
    count: u64,
}

/// What there is at the place of a pool.
pub(super) enum Place {
    Free,
    Used(Pool),
    /// It could not be read, or contradicts itself.
    Failed,
}

impl Pool {
    /// Addresses of the blocks in use.
    pub(super) fn blocks(&self) -> impl Iterator<Item = u64> {
        (0..self.count)
            .filter(|block| self.free[(block / 64) as usize] >> (block % 64) & 1 == 0)
            .map(|block| self.first + block * self.block_size)
    }
}

impl Reader<'_> {
    /// The arenas in use; none if the interpreter does not use pymalloc.
    pub(super) fn find_arenas(&mut self) -> Arenas {
        let mut arrays = HashSet::new();
        for range in &self.interpreter.data {
            let end = range.end.min(range.start.saturating_add(MAX_DATA));
            let words = (range.start & !7..end).step_by(8);
            let words = words.filter_map(|address| self.view.word(address));
            arrays.extend(words.filter(|word| *word != 0 && word.is_multiple_of(UNIT)));
        }
        arrays.retain(|array| !self.is_static(*array) && self.arena(*array, 0).is_some());
        // Others point into the array.
        let found = arrays.into_iter().map(|array| self.arenas_in(array));
        let arenas = found.max_by_key(Vec::len).unwrap_or_default();
        Arenas::new(arenas, self.interpreter.structures.pool_bits)
    }

    /// The arenas of an array, up to where it looks like none.
    fn arenas_in(&mut self, array: u64) -> Vec<RawArena> {
        let mut arenas = Vec::new();
        for index in 0..MAX_ARENAS {
            let arena = self.arena(array, index);
            let is_late = index % BETWEEN_LOOKS == 0 && self.view.is_late();
            if is_late || arena.is_none() && !self.is_unused(array, index) {
                break;
            }
            arenas.extend(arena);
        }
        arenas
    }

    /// An arena that is in use, at a place in the array.
    fn arena(&mut self, array: u64, index: u64) -> Option<RawArena> {
        let structures = self.interpreter.structures;
        let (pool_size, size) = (1 << structures.pool_bits, 1 << structures.arena_bits);
        let place = array.checked_add(index * ARENA_OBJECT)?;
        let [start, end, pools] = self.view.words(place)?;
        let (free, pools) = (pools as u32, (pools >> 32) as u32);
        let most = (size / pool_size) as u32;
        let range = Range { start, end: start.checked_add(size)? };
        let is_sane = start != 0
            && start.is_multiple_of(4096)
            && end.is_multiple_of(pool_size)
            && (start..=range.end).contains(&end)
            && (most - 1..=most).contains(&pools)
            && free <= pools;
        is_sane.then_some(RawArena { range, index, pools, end })
    }

    /// Whether the place may be one of the array that holds no arena: only its fifth word counts,
    /// the next such place.
    fn is_unused(&mut self, array: u64, index: u64) -> bool {
        let Some([start, _, _, _, next]) =
            self.view.words(array.saturating_add(index * ARENA_OBJECT))
        else {
            return false;
        };
        let distance = next.wrapping_sub(array);
        start == 0
            && (next == 0
                || distance.is_multiple_of(ARENA_OBJECT) && distance / ARENA_OBJECT < MAX_ARENAS)
    }

    /// Addresses of the pools of an arena that were used once.
    pub(super) fn pools(&self, arena: RawArena) -> impl Iterator<Item = u64> + use<> {
        let size = 1_u64 << self.interpreter.structures.pool_bits;
        (arena.range.start.next_multiple_of(size)..arena.end).step_by(size as usize)
    }

    /// Reads a pool; again if it contradicts itself, for it may have changed meanwhile.
    pub(super) fn pool(&mut self, address: u64, arena: RawArena) -> Place {
        if let Some(place) = self.pool_once(address, arena) {
            return place;
        }
        self.view.refresh(address);
        self.pool_once(address, arena).unwrap_or(Place::Failed)
    }

    fn pool_once(&mut self, address: u64, arena: RawArena) -> Option<Place> {
        let size = 1 << self.interpreter.structures.pool_bits;
        let [used, mut free_block, _, _, class, offsets] = self.view.words(address)?;
        let used = u64::from(used as u32);
        if used == 0 {
            return Some(Place::Free);
        }
        let (index, class) = (u64::from(class as u32), class >> 32);
        let (next, last) = (u64::from(offsets as u32), offsets >> 32);
        (index == arena.index && class < SIZE_CLASSES).then_some(())?;
        let block_size = (class + 1) * UNIT;
        let carved = next.checked_sub(POOL_HEAD)?;
        let is_sane = last == size - block_size && next <= size && carved % block_size == 0;
        is_sane.then_some(())?;
        let (first, count) = (address + POOL_HEAD, carved / block_size);
        let mut pool = Pool { first, block_size, free: [0; 16], count };
        let mut free_count = 0;
        while free_block != 0 {
            pool.set_free(free_block)?;
            free_count += 1;
            free_block = self.view.word(free_block)?;
        }
        (used + free_count == count).then_some(Place::Used(pool))
    }
}

impl Pool {
    /// `None`: it is no block of the pool, or free already.
    fn set_free(&mut self, block: u64) -> Option<()> {
        let distance = block.checked_sub(self.first)?;
        let number = distance / self.block_size;
        (distance % self.block_size == 0 && number < self.count).then_some(())?;
        let (word, bit) = (self.free.get_mut((number / 64) as usize)?, 1 << (number % 64));
        (*word & bit == 0).then_some(())?;
        *word |= bit;
        Some(())
    }
}
