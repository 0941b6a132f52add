//! Counts the objects in pymalloc's blocks: nearly all of up to 512 bytes.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    arenas::{Arenas, Place, Pool, RawArena},
    model::{Arena, SparsePools},
    reader::Reader,
    tally::Tally,
    types::TypeId,
};

/// Types that are named for an arena, and for nearly empty pools.
const NAMED_TYPES: usize = 3;
/// A pool is nearly empty if less than one of so many parts is in use.
const SPARSE: u64 = 4;
/// What pymalloc's debug hooks put before a block: eight bytes of size, one for the kind, and seven
/// of these.
const FORBIDDEN: u64 = 0xfdfd_fdfd_fdfd_fd00;
const DEBUG_HEAD: u64 = 16;
/// Where an object may start in its block: behind no head, the collector's, and that and two
/// pointers.
const HEADS: [u64; 3] = [0, 16, 32];

/// What was found in all arenas.
pub(super) struct Blocks {
    pub(super) arenas: Vec<Arena>,
    pub(super) tally: Tally,
    sparse: Sparse,
    /// Blocks in use with the bytes of the debug hooks, and without.
    hooked: [u64; 2],
}

impl Blocks {
    /// Counts what is in the arenas; at most `listed` of the large objects of each kind are listed.
    pub(super) fn count(reader: &mut Reader<'_>, arenas: &Arenas, listed: usize) -> Self {
        let (tally, sparse) = (Tally::new(listed), Sparse::default());
        let mut blocks = Self { arenas: Vec::new(), tally, sparse, hooked: [0, 0] };
        for position in 0..arenas.list.len() {
            let arena = blocks.count_arena(reader, arenas, position);
            blocks.arenas.push(arena);
        }
        blocks
    }

    /// Whether there are any, and whether most have the bytes of the debug hooks around them.
    pub(super) fn are_hooked(&self) -> Option<bool> {
        let [without, with] = self.hooked;
        (without + with > 0).then_some(with > without)
    }

    /// The nearly empty pools; types are still numbered as they were found.
    pub(super) fn sparse_pools(&self) -> SparsePools {
        let Sparse { count, bytes, used, ref types } = self.sparse;
        let mut types: Vec<_> = types.iter().map(|(of, count)| (*of, *count)).collect();
        types.sort_by_key(|(of, count)| (Reverse(*count), *of));
        types.truncate(NAMED_TYPES);
        SparsePools { count, bytes, used_bytes: used, types }
    }

    fn count_arena(&mut self, reader: &mut Reader<'_>, arenas: &Arenas, position: usize) -> Arena {
        let (arena, mut found) = (arenas.list[position], Found::default());
        for address in reader.pools(arena) {
            if reader.view.is_late() {
                found.is_cut = true;
                break;
            }
            let coverage = &mut self.tally.coverage;
            coverage.pools += 1;
            match reader.pool(address, arena) {
                Place::Free => {}
                Place::Failed => coverage.failed_pools += 1,
                Place::Used(pool) if self.count_pool(reader, &pool, &mut found) => {}
                Place::Used(_) => arenas.set_plain(position, address),
            }
        }
        found.into_arena(arena)
    }

    /// Counts what is in a pool; whether an object there refers to others.
    fn count_pool(&mut self, reader: &mut Reader<'_>, pool: &Pool, found: &mut Found) -> bool {
        found.pools += 1;
        found.refers = false;
        found.pool_types.clear();
        let before = found.bytes;
        for block in pool.blocks() {
            self.count_block(reader, (block, pool.block_size), found);
        }
        let (size, used) = (1 << reader.interpreter.structures.pool_bits, found.bytes - before);
        if used < size / SPARSE {
            self.sparse.add(size, used, &found.pool_types);
        }
        found.refers
    }

    fn count_block(
        &mut self,
        reader: &mut Reader<'_>,
        (block, size): (u64, u64),
        found: &mut Found,
    ) {
        found.blocks += 1;
        found.bytes += size;
        let mark = reader.view.word(block + 8).unwrap_or(0);
        let is_hooked = mark & !0xff == FORBIDDEN;
        self.hooked[usize::from(is_hooked)] += 1;
        let start = if is_hooked { block + DEBUG_HEAD } else { block };
        let room = (block + size) - start;
        let counted = object_in(reader, start, room)
            .filter(|(object, id)| reader.fits(*object, *id, room))
            .and_then(|(object, id)| Some((id, self.tally.count(reader, object, id)?)));
        let coverage = &mut self.tally.coverage;
        coverage.blocks += 1;
        if let Some((id, bytes)) = counted {
            found.refers |= reader.described(id).refers();
            found.add(id, bytes);
        } else {
            coverage.other_blocks += 1;
            coverage.other_bytes += size;
        }
    }
}

/// Pools that are nearly empty.
#[derive(Default)]
struct Sparse {
    count: u64,
    bytes: u64,
    used: u64,
    /// Objects in them by type.
    types: HashMap<usize, u64>,
}

impl Sparse {
    fn add(&mut self, size: u64, used: u64, types: &[TypeId]) {
        self.count += 1;
        self.bytes += size;
        self.used += used;
        for id in types {
            *self.types.entry(id.index()).or_default() += 1;
        }
    }
}

/// What was found in one arena.
#[derive(Default)]
struct Found {
    pools: u32,
    blocks: u32,
    bytes: u64,
    /// Whether there was no time for all pools.
    is_cut: bool,
    /// Whether an object in the pool that is looked at refers to others.
    refers: bool,
    /// Objects and bytes by type.
    types: Vec<(u32, u64)>,
    /// Types of the objects in the pool that is looked at.
    pool_types: Vec<TypeId>,
}

impl Found {
    fn add(&mut self, id: TypeId, bytes: u64) {
        if self.types.len() <= id.index() {
            self.types.resize(id.index() + 1, (0, 0));
        }
        self.pool_types.push(id);
        let (count, total) = &mut self.types[id.index()];
        (*count, *total) = (*count + 1, total.saturating_add(bytes));
    }

    /// Types are still numbered as they were found.
    fn into_arena(self, arena: RawArena) -> Arena {
        let mut order: Vec<usize> =
            (0..self.types.len()).filter(|index| self.types[*index].0 > 0).collect();
        order.sort_by_key(|index| Reverse(self.types[*index].1));
        order.truncate(NAMED_TYPES);
        Arena {
            range: arena.range,
            is_read: !self.is_cut,
            used_pools: self.pools,
            free_pools: arena.pools.saturating_sub(self.pools),
            used_blocks: self.blocks,
            used_bytes: self.bytes,
            types: order.into_iter().map(|index| (index, self.types[index].0)).collect(),
        }
    }
}

/// The object in a block of `size` bytes, if one begins where its type says that it does.
fn object_in(reader: &mut Reader<'_>, block: u64, size: u64) -> Option<(u64, TypeId)> {
    HEADS.into_iter().find_map(|head| {
        let object = block + head;
        let id = reader.type_of(object)?;
        let of = reader.described(id);
        let fits = of.head() == head && head + of.basic_size.min(24) <= size;
        fits.then_some((object, id))
    })
}
