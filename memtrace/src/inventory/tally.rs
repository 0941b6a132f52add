//! Adds up objects by type, and keeps the largest of those that are listed.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    kind::Kind,
    model::{Coverage, TypeTotal},
    reader::Reader,
    types::{TypeId, Types},
};

/// Buffers below are not listed.
const LARGE: u64 = 16 << 10;

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

    fn append(&mut self, other: Self) {
        other.heap.into_iter().for_each(|Reverse((bytes, object))| self.add(bytes, object));
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
    pub(super) buffers: Top,
    pub(super) arrays: Top,
    pub(super) data_frames: Top,
    pub(super) array_count: u64,
    pub(super) array_bytes: u64,
    pub(super) coverage: Coverage,
}

impl Tally {
    pub(super) fn new(listed: usize) -> Self {
        Self {
            totals: Vec::new(),
            containers: Top::new(listed),
            buffers: Top::new(listed),
            arrays: Top::new(listed),
            data_frames: Top::new(listed),
            array_count: 0,
            array_bytes: 0,
            coverage: Coverage::default(),
        }
    }

    /// Counts an object, and lists it if it is large; its bytes, unless it contradicts itself.
    pub(super) fn count(
        &mut self,
        reader: &mut Reader<'_>,
        object: u64,
        id: TypeId,
    ) -> Option<u64> {
        let Some(bytes) = reader.size_of(object, id) else {
            self.coverage.failed_objects += 1;
            return None;
        };
        self.add(id, 1, bytes);
        self.coverage.objects += 1;
        if reader.described(id).is_listed {
            self.list(reader, (object, id), bytes);
        }
        Some(bytes)
    }

    fn add(&mut self, id: TypeId, objects: u64, bytes: u64) {
        if self.totals.len() <= id.index() {
            self.totals.resize(id.index() + 1, (0, 0));
        }
        let (count, total) = &mut self.totals[id.index()];
        (*count, *total) = (*count + objects, total.saturating_add(bytes));
    }

    /// Adds what another one has counted, whose types are `types`, in its order.
    pub(super) fn append(&mut self, other: Self, types: &[TypeId]) {
        for (id, (count, bytes)) in types.iter().zip(other.totals) {
            self.add(*id, count, bytes);
        }
        self.containers.append(other.containers);
        self.buffers.append(other.buffers);
        self.arrays.append(other.arrays);
        self.data_frames.append(other.data_frames);
        self.array_count += other.array_count;
        self.array_bytes = self.array_bytes.saturating_add(other.array_bytes);
        self.coverage.add(&other.coverage);
    }

    /// Lists an object, of a type of which some are, if it is large.
    fn list(&mut self, reader: &mut Reader<'_>, (object, id): (u64, TypeId), bytes: u64) {
        match reader.described(id).kind {
            Kind::NumpyArray => self.list_array(reader, object),
            kind if kind.is_container() => self.containers.add(bytes, object),
            kind if kind.is_buffer() => {
                let bytes = reader.buffer_bytes(object, kind, bytes);
                if bytes >= LARGE {
                    self.buffers.add(bytes, object);
                }
            }
            _ => self.data_frames.add(bytes, object),
        }
    }

    fn list_array(&mut self, reader: &mut Reader<'_>, object: u64) {
        let Some(array) = reader.array(object) else { return };
        self.array_count += 1;
        self.array_bytes = self.array_bytes.saturating_add(array.owned_bytes());
        self.arrays.add(array.bytes().unwrap_or(0), object);
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
