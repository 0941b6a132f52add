//! pandas data frames, releases 1.3 to 3: `DataFrame._mgr` is a `BlockManager` with a tuple of
//! blocks, each with an array or an extension array of `values` for some of the columns
//! (pandas/_libs/internals.pyx).

use std::cmp::Reverse;

use super::{
    edge::Edge, holder::Holders, kind::Kind, model::DataFrame, reader::Reader,
    references::Reference, types::TypeId,
};

const NAMES: [&str; 2] = ["pandas.core.frame.DataFrame", "pandas.DataFrame"];
/// Blocks of one frame; a frame that was put together column by column has one for each.
const MAX_BLOCKS: usize = 10_000;
/// How far the arrays of an extension array are from it.
const MAX_DEPTH: usize = 3;
/// Members of an object that are looked at, and characters of their names.
const MAX_MEMBERS: usize = 100;
const MAX_NAME: usize = 100;

/// Whether a type of this name is that of data frames.
pub(super) fn is_data_frame(name: &str) -> bool {
    NAMES.contains(&name)
}

/// An array that holds columns.
struct Block {
    dtype: String,
    columns: u64,
    rows: u64,
    bytes: u64,
}

impl Reader<'_> {
    pub(super) fn data_frame(&mut self, address: u64, holders: &Holders) -> Option<DataFrame> {
        let id = self.type_of(address)?;
        let manager = self.attribute(address, id, "_mgr")?;
        let blocks: Vec<Block> =
            self.blocks(manager)?.into_iter().filter_map(|block| self.block(block)).collect();
        let mut dtypes: Vec<(String, u64, u64)> = Vec::new();
        for block in &blocks {
            match dtypes.iter_mut().find(|(name, ..)| *name == block.dtype) {
                Some((_, columns, bytes)) => {
                    (*columns, *bytes) = (*columns + block.columns, *bytes + block.bytes);
                }
                None => dtypes.push((block.dtype.clone(), block.columns, block.bytes)),
            }
        }
        dtypes.sort_by_key(|(.., bytes)| Reverse(*bytes));
        Some(DataFrame {
            address,
            rows: blocks.iter().map(|block| block.rows).max().unwrap_or(0),
            columns: blocks.iter().map(|block| block.columns).sum(),
            bytes: blocks.iter().map(|block| block.bytes).sum(),
            dtypes,
            holder: holders.holder(self, address),
        })
    }

    /// An attribute that an instance keeps itself.
    fn attribute(&mut self, object: u64, id: TypeId, wanted: &str) -> Option<u64> {
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

    /// The blocks of a manager: the tuple of them is one of its members.
    fn blocks(&mut self, manager: u64) -> Option<Vec<u64>> {
        let id = self.type_of(manager)?;
        let mut members = Vec::new();
        self.fields(manager, id, &mut |_, reference| members.push(reference.target));
        members.into_iter().find_map(|member| {
            let id = self.type_of(member)?;
            (self.described(id).kind == Kind::Tuple).then_some(())?;
            let count = self.size(member).min(MAX_BLOCKS as u64);
            let first = member + self.interpreter.structures.tuple_items;
            let items: Option<Vec<u64>> =
                (0..count).map(|item| self.view.word(first + item * 8)).collect();
            let items = items?;
            let first = self.type_of(*items.first()?)?;
            self.described(first).name.ends_with("Block").then_some(items)
        })
    }

    fn block(&mut self, block: u64) -> Option<Block> {
        let Some((array, depth)) = self.array_within(block, 0) else {
            return self.other_block(block);
        };
        let raw = self.array(array)?;
        let bytes = raw.bytes()?;
        // Columns are rows here; an extension array is one column.
        let (columns, rows) = match *raw.shape.as_slice() {
            [columns, rows] => (columns, rows),
            [rows] if depth > 0 => (1, rows),
            _ => return None,
        };
        Some(Block { dtype: self.dtype(&raw), columns, rows, bytes })
    }

    /// A block with an extension array that holds no NumPy array, such as one of Arrow's.
    fn other_block(&mut self, block: u64) -> Option<Block> {
        let id = self.type_of(block)?;
        let mut dtype = None;
        self.fields(block, id, &mut |reader, Reference { target, .. }| {
            let name = reader.type_of(target).map(|id| &reader.described(id).name);
            let name = name.filter(|name| name.starts_with("pandas.") && name.ends_with("Array"));
            dtype = dtype.take().or_else(|| Some(name?.rsplit('.').next()?.to_owned()));
        });
        Some(Block { dtype: dtype?, columns: 1, rows: 0, bytes: 0 })
    }

    /// The largest array among the members of an object, or of theirs.
    fn array_within(&mut self, object: u64, depth: usize) -> Option<(u64, usize)> {
        let id = self.type_of(object)?;
        let name = &self.described(id).name;
        let is_searched = depth == 0 || name.starts_with("pandas.") || name == "dict";
        (depth < MAX_DEPTH && is_searched).then_some(())?;
        let mut members = Vec::new();
        self.references(object, id, &mut |_, reference| {
            if members.len() < MAX_MEMBERS {
                members.push(reference.target);
            }
        });
        let own = members.iter().copied().filter(|member| self.is_array(*member));
        let own: Vec<u64> = own.collect();
        if let Some(array) = own.into_iter().max_by_key(|array| self.array(*array)?.bytes()) {
            return Some((array, depth));
        }
        members.into_iter().find_map(|member| self.array_within(member, depth + 1))
    }
}
