//! pandas data frames, releases 1.3 to 3: `DataFrame._mgr` is a `BlockManager` with a tuple of
//! blocks, which hold the columns, and a list of two indices, the labels of the columns and those of
//! the rows (pandas/_libs/internals.pyx).

use std::cmp::Reverse;

use super::{
    columns::Block, edge::Edge, holder::Holders, kind::Kind, model::DataFrame, reader::Reader,
    references::Reference, types::TypeId,
};

const NAMES: [&str; 2] = ["pandas.core.frame.DataFrame", "pandas.DataFrame"];
const MANAGER: &str = "BlockManager";
/// Blocks of one frame; a frame that was put together column by column has one for each.
const MAX_BLOCKS: u64 = 10_000;
const MAX_NAME: usize = 100;
/// In a list: the pointer to its items.
const LIST_ITEMS: u64 = 24;
/// In a `range`: the pointer to its length.
const RANGE_LENGTH: u64 = 40;

/// Whether a type of this name is that of data frames.
pub(super) fn is_data_frame(name: &str) -> bool {
    NAMES.contains(&name)
}

/// What a `BlockManager` manages.
struct Manager {
    blocks: Vec<u64>,
    /// The labels of the columns and of the rows.
    axes: Vec<u64>,
}

impl Reader<'_> {
    pub(super) fn data_frame(&mut self, address: u64, holders: &Holders) -> Option<DataFrame> {
        let id = self.type_of(address)?;
        let manager = self.attribute(address, id, "_mgr")?;
        let Manager { blocks, axes } = self.manager(manager)?;
        let blocks: Vec<Block> = blocks.into_iter().filter_map(|block| self.block(block)).collect();
        let mut length = |axis: usize| self.index_length(*axes.get(axis)?);
        let [columns, rows] = [length(0), length(1)];
        // What cannot be read of the labels, the columns tell.
        let widths = blocks.iter().map(|block| block.columns);
        let lengths = blocks.iter().map(|block| block.rows);
        Some(DataFrame {
            address,
            rows: rows.or_else(|| lengths.max()).unwrap_or(0),
            columns: columns.unwrap_or_else(|| widths.fold(0, u64::saturating_add)),
            bytes: blocks.iter().map(|block| block.bytes).fold(0, u64::saturating_add),
            dtypes: by_type(&blocks),
            holder: holders.holder(self, address),
        })
    }

    /// An attribute that an instance keeps itself.
    pub(super) fn attribute(&mut self, object: u64, id: TypeId, wanted: &str) -> Option<u64> {
        let (mut found, mut dicts) = (None, Vec::new());
        self.attributes(object, id, &mut |reader, Reference { edge, target, .. }| match edge {
            Edge::Attribute(number) => {
                let name = reader.attribute_name(id, number);
                let name = name.and_then(|name| reader.string(name, MAX_NAME));
                found = found.or((name.as_deref() == Some(wanted)).then_some(target));
            }
            Edge::Dict => dicts.push(target),
            _ => {}
        });
        found.or_else(|| dicts.into_iter().find_map(|dict| self.item(dict, wanted)))
    }

    fn manager(&mut self, manager: u64) -> Option<Manager> {
        let id = self.type_of(manager)?;
        self.described(id).name.ends_with(MANAGER).then_some(())?;
        let mut members = Vec::new();
        self.fields(manager, id, &mut |_, reference| members.push(reference.target));
        let mut first = |kind: Kind| {
            members.iter().find_map(|member| {
                let id = self.type_of(*member)?;
                (self.described(id).kind == kind).then(|| self.first_items(*member, MAX_BLOCKS))?
            })
        };
        Some(Manager { blocks: first(Kind::Tuple)?, axes: first(Kind::List).unwrap_or_default() })
    }

    /// The first items of a tuple or of a list.
    fn first_items(&mut self, object: u64, most: u64) -> Option<Vec<u64>> {
        let id = self.type_of(object)?;
        let first = match self.described(id).kind {
            Kind::Tuple => object.wrapping_add(self.interpreter.structures.tuple_items),
            Kind::List => self.view.word(object.wrapping_add(LIST_ITEMS))?,
            _ => return None,
        };
        let count = self.size(object).min(most);
        (0..count).map(|item| self.view.word(first.wrapping_add(item * 8))).collect()
    }

    /// How many labels an index has: of a range, in its data, or in the codes of its first level.
    pub(super) fn index_length(&mut self, index: u64) -> Option<u64> {
        let id = self.type_of(index)?;
        if let Some(range) = self.attribute(index, id, "_range") {
            let length = self.view.word(range.wrapping_add(RANGE_LENGTH))?;
            return self.small_int(length)?.try_into().ok();
        }
        if let Some(data) = self.attribute(index, id, "_data") {
            return self.column_values(data).map(|data| data.rows);
        }
        let codes = self.attribute(index, id, "_codes")?;
        let codes = *self.first_items(codes, 1)?.first()?;
        self.column_values(codes).map(|codes| codes.rows)
    }
}

/// Types with their columns and bytes, most bytes first.
fn by_type(blocks: &[Block]) -> Vec<(String, u64, u64)> {
    let mut dtypes: Vec<(String, u64, u64)> = Vec::new();
    for block in blocks {
        match dtypes.iter_mut().find(|(name, ..)| *name == block.dtype) {
            Some((_, columns, bytes)) => {
                *columns = columns.saturating_add(block.columns);
                *bytes = bytes.saturating_add(block.bytes);
            }
            None => dtypes.push((block.dtype.clone(), block.columns, block.bytes)),
        }
    }
    dtypes.sort_by_key(|(.., bytes)| Reverse(*bytes));
    dtypes
}
