//! Columns of Apache Arrow: a `pyarrow.lib.ChunkedArray` keeps a pointer to an `arrow::ChunkedArray`,
//! of which nothing but C++ knows the layout (`arrow/chunked_array.h`, `arrow/array/data.h` and
//! `arrow/buffer.h`, the same in memory since release 1). So it is believed only if it agrees with
//! itself: the lengths of the chunks must add up to that of the whole.

use std::collections::{HashMap, HashSet};

use super::{reader::Reader, types::TypeId};

const NAME: &str = "pyarrow.lib.ChunkedArray";
/// Bytes of the Python object in which the pointer is looked for.
const SEARCHED: u64 = 128;
/// `sizeof(std::shared_ptr)`.
const SHARED: u64 = 16;
/// Where a chunked array may have its length: behind the type, and before it in old releases.
const LENGTHS: [u64; 2] = [40, 24];
/// Members of an array, of its data, and of a buffer.
const ARRAY_DATA: u64 = 8;
const DATA_LENGTH: u64 = 16;
const DATA_BUFFERS: u64 = 40;
const DATA_CHILDREN: u64 = 64;
const DATA_DICTIONARY: u64 = 88;
const BUFFER_BYTES: u64 = 16;

const MAX_CHUNKS: u64 = 100_000;
/// Buffers of an array, or arrays in it.
const MAX_PARTS: u64 = 10_000;
/// How deep arrays may lie in arrays.
const MAX_DEPTH: usize = 8;
/// No buffer is larger: 1 TiB.
const MAX_BYTES: u64 = 1 << 40;

/// A column that Arrow keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ArrowColumn {
    pub(super) rows: u64,
    /// Bytes of its buffers, each once (`get_total_buffer_size`).
    pub(super) bytes: u64,
}

/// What was met in a column.
#[derive(Default)]
struct Met {
    /// Data of arrays, by address.
    arrays: HashSet<u64>,
    /// Buffers by where their bytes are, with how many these are.
    buffers: HashMap<u64, u64>,
}

impl Reader<'_> {
    pub(super) fn is_chunked_array(&self, id: TypeId) -> bool {
        self.described(id).name == NAME
    }

    /// The column of a `ChunkedArray`.
    pub(super) fn arrow_column(&mut self, object: u64) -> Option<ArrowColumn> {
        let id = self.type_of(object)?;
        let end = self.described(id).basic_size.min(SEARCHED);
        // A shared pointer, its count, and the plain pointer.
        let whole = (16..end.saturating_sub(16)).step_by(8).find_map(|member| {
            let [shared, _, plain] = self.view.words(object.wrapping_add(member))?;
            (shared != 0 && shared == plain).then_some(shared)
        })?;
        let (mut met, mut rows) = (Met::default(), 0_u64);
        for chunk in self.pointers(whole, MAX_CHUNKS)? {
            let data = self.view.word(chunk.wrapping_add(ARRAY_DATA))?;
            rows = rows.checked_add(self.view.word(data.wrapping_add(DATA_LENGTH))?)?;
            self.buffers(data, MAX_DEPTH, &mut met)?;
        }
        let is_length =
            |reader: &mut Self, place| reader.view.word(whole.wrapping_add(place)) == Some(rows);
        LENGTHS.into_iter().any(|place| is_length(self, place)).then_some(())?;
        Some(ArrowColumn { rows, bytes: met.buffers.into_values().fold(0, u64::saturating_add) })
    }

    /// Takes note of the buffers of an array, of those in it, and of its dictionary.
    fn buffers(&mut self, data: u64, depth: usize, met: &mut Met) -> Option<()> {
        if !met.arrays.insert(data) {
            return Some(());
        }
        (!self.view.is_late()).then_some(())?;
        for buffer in self.pointers(data.wrapping_add(DATA_BUFFERS), MAX_PARTS)? {
            if buffer != 0 {
                let [start, bytes] = self.view.words(buffer.wrapping_add(BUFFER_BYTES))?;
                (bytes < MAX_BYTES).then_some(())?;
                let known = met.buffers.entry(start).or_default();
                *known = bytes.max(*known);
            }
        }
        let mut inner = self.pointers(data.wrapping_add(DATA_CHILDREN), MAX_PARTS)?;
        inner.push(self.view.word(data.wrapping_add(DATA_DICTIONARY))?);
        for data in inner.into_iter().filter(|data| *data != 0) {
            self.buffers(data, depth.checked_sub(1)?, met)?;
        }
        Some(())
    }

    /// What the shared pointers in a `std::vector` point to.
    fn pointers(&mut self, vector: u64, most: u64) -> Option<Vec<u64>> {
        let [first, end] = self.view.words(vector)?;
        let bytes = end.checked_sub(first)?;
        (bytes.is_multiple_of(SHARED) && bytes / SHARED <= most).then_some(())?;
        (first..end).step_by(SHARED as usize).map(|place| self.view.word(place)).collect()
    }
}
