//! Adds up objects by type, and keeps the largest of those that are listed.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    arenas::{Place, Pool, RawArena},
    graph::Graph,
    kind::Kind,
    model::{Arena, Coverage, TypeTotal},
    reader::Reader,
    types::{TypeId, Types},
};

/// Types that are named for an arena.
const ARENA_TYPES: usize = 3;
/// What pymalloc's debug hooks put before a block: eight bytes of size, one for the kind, and seven
/// of these.
const FORBIDDEN: u64 = 0xfdfd_fdfd_fdfd_fd00;
const DEBUG_HEAD: u64 = 16;
/// Where an object may start in its block: behind no head, the collector's, and that and two
/// pointers.
const HEADS: [u64; 3] = [0, 16, 32];

/// The largest of many.
pub(super) struct Top {
    heap: BinaryHeap<Reverse<(u64, u64)>>,
    limit: usize,
}

impl Top {
    fn new(limit: usize) -> Self {
        Self { heap: BinaryHeap::new(), limit }
    }

    fn add(&mut self, bytes: u64, object: u64) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse((bytes, object)));
        } else if self.heap.peek().is_some_and(|Reverse(least)| *least < (bytes, object)) {
            self.heap.pop();
            self.heap.push(Reverse((bytes, object)));
        }
    }

    /// Bytes and addresses, the largest first.
    pub(super) fn into_list(self) -> Vec<(u64, u64)> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(entry)| entry).collect()
    }
}

/// What has been counted.
pub(super) struct Tally {
    totals: Vec<(u64, u64)>,
    pub(super) containers: Top,
    pub(super) arrays: Top,
    pub(super) data_frames: Top,
    pub(super) array_count: u64,
    pub(super) array_bytes: u64,
    pub(super) coverage: Coverage,
    /// Blocks in use with the bytes of the debug hooks, and without.
    hooked: [u64; 2],
}

impl Tally {
    pub(super) fn new(listed: usize) -> Self {
        Self {
            totals: Vec::new(),
            containers: Top::new(listed),
            arrays: Top::new(listed),
            data_frames: Top::new(listed),
            array_count: 0,
            array_bytes: 0,
            coverage: Coverage::default(),
            hooked: [0, 0],
        }
    }

    /// Counts an object; its bytes, unless it contradicts itself.
    fn count(&mut self, reader: &mut Reader<'_>, object: u64, id: TypeId) -> Option<u64> {
        let Some(bytes) = reader.size_of(object, id) else {
            self.coverage.failed_objects += 1;
            return None;
        };
        if self.totals.len() <= id.index() {
            self.totals.resize(id.index() + 1, (0, 0));
        }
        let (count, total) = &mut self.totals[id.index()];
        (*count, *total) = (*count + 1, total.saturating_add(bytes));
        self.coverage.objects += 1;
        Some(bytes)
    }

    /// Lists an object if it is one of those that are, and large.
    fn list(&mut self, reader: &mut Reader<'_>, (object, id): (u64, TypeId), bytes: u64) {
        match reader.described(id).kind {
            Kind::NumpyArray => self.list_array(reader, object),
            kind if kind.is_container() => self.containers.add(bytes, object),
            _ if reader.is_data_frame(id) => self.data_frames.add(bytes, object),
            _ => {}
        }
    }

    fn list_array(&mut self, reader: &mut Reader<'_>, object: u64) {
        let Some(array) = reader.array(object) else { return };
        self.array_count += 1;
        self.array_bytes = self.array_bytes.saturating_add(array.owned_bytes());
        self.arrays.add(array.bytes().unwrap_or(0), object);
    }

    /// Takes note of an object that references led to; pools count what is in them.
    pub(super) fn reached(&mut self, reader: &mut Reader<'_>, found: (u64, TypeId), pooled: bool) {
        let (object, id) = found;
        let bytes =
            if pooled { reader.size_of(object, id) } else { self.count(reader, object, id) };
        if let Some(bytes) = bytes {
            self.list(reader, found, bytes);
        }
    }

    /// Counts what is in an arena.
    pub(super) fn count_arena(
        &mut self,
        reader: &mut Reader<'_>,
        graph: &Graph<'_>,
        arena: RawArena,
    ) -> Arena {
        let mut found = Found::new(graph);
        for address in reader.pools(arena) {
            if reader.view.is_late() {
                break;
            }
            self.coverage.pools += 1;
            match reader.pool(address, arena) {
                Place::Free => {}
                Place::Failed => self.coverage.failed_pools += 1,
                Place::Used(pool) => self.count_pool(reader, &pool, &mut found),
            }
        }
        found.into_arena(arena)
    }

    fn count_pool(&mut self, reader: &mut Reader<'_>, pool: &Pool, found: &mut Found<'_>) {
        found.pools += 1;
        for block in pool.blocks() {
            self.count_block(reader, (block, pool.block_size), found);
        }
    }

    fn count_block(
        &mut self,
        reader: &mut Reader<'_>,
        (block, size): (u64, u64),
        found: &mut Found<'_>,
    ) {
        self.coverage.blocks += 1;
        found.blocks += 1;
        found.bytes += size;
        let mark = reader.view.word(block + 8).unwrap_or(0);
        let is_hooked = mark & !0xff == FORBIDDEN;
        self.hooked[usize::from(is_hooked)] += 1;
        let start = if is_hooked { block + DEBUG_HEAD } else { block };
        let object = object_in(reader, start, (block + size) - start);
        let counted =
            object.and_then(|(object, id)| Some((object, id, self.count(reader, object, id)?)));
        if let Some((object, id, bytes)) = counted {
            found.add(id, bytes);
            if found.graph.number(object).is_none() {
                self.list(reader, (object, id), bytes);
            }
        } else {
            self.coverage.other_blocks += 1;
            self.coverage.other_bytes += size;
        }
    }

    /// Whether most blocks have the bytes of the debug hooks around them.
    pub(super) fn is_hooked(&self) -> bool {
        self.hooked[1] > self.hooked[0]
    }

    /// Types with their objects, most bytes first, and where each type is in that list.
    pub(super) fn types(&self, types: &Types) -> (Vec<TypeTotal>, Vec<usize>) {
        let mut order: Vec<usize> =
            (0..self.totals.len()).filter(|index| self.totals[*index].0 > 0).collect();
        order.sort_by_key(|index| Reverse((self.totals[*index].1, *index)));
        let mut places = vec![usize::MAX; self.totals.len()];
        let names: Vec<&str> = types.iter().map(|of| of.name.as_str()).collect();
        let list = order.iter().enumerate().map(|(place, index)| {
            places[*index] = place;
            let (count, bytes) = self.totals[*index];
            TypeTotal { name: names[*index].to_owned(), count, bytes }
        });
        (list.collect(), places)
    }
}

/// What was found in one arena.
struct Found<'g> {
    graph: &'g Graph<'g>,
    pools: u32,
    blocks: u32,
    bytes: u64,
    /// Objects and bytes by type.
    types: Vec<(u32, u64)>,
}

impl<'g> Found<'g> {
    fn new(graph: &'g Graph<'g>) -> Self {
        Self { graph, pools: 0, blocks: 0, bytes: 0, types: Vec::new() }
    }

    fn add(&mut self, id: TypeId, bytes: u64) {
        if self.types.len() <= id.index() {
            self.types.resize(id.index() + 1, (0, 0));
        }
        let (count, total) = &mut self.types[id.index()];
        (*count, *total) = (*count + 1, total.saturating_add(bytes));
    }

    /// Types are still numbered as they were found.
    fn into_arena(self, arena: RawArena) -> Arena {
        let mut order: Vec<usize> =
            (0..self.types.len()).filter(|index| self.types[*index].0 > 0).collect();
        order.sort_by_key(|index| Reverse(self.types[*index].1));
        order.truncate(ARENA_TYPES);
        Arena {
            range: arena.range,
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
