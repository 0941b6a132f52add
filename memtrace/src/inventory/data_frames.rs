//! pandas data frames, releases 1.3 to 3: `DataFrame._mgr` is a `BlockManager` with a tuple of
//! blocks, each with an array or an extension array of `values` for some of the columns
//! (pandas/_libs/internals.pyx).

use std::cmp::Reverse;

use super::{
    arrays::RawArray, arrow::ArrowColumn, edge::Edge, holder::Holders, kind::Kind,
    model::DataFrame, reader::Reader, references::Reference, types::TypeId,
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

    /// What a block holds: its array, whose rows are columns, or an extension array, one column.
    fn block(&mut self, block: u64) -> Option<Block> {
        let members = self.members_of(block)?;
        let array = members.iter().copied().find(|member| self.is_array(*member));
        if let Some(raw) = array.and_then(|array| self.array(array)) {
            let [columns, rows] = *raw.shape.as_slice() else { return None };
            return Some(Block { dtype: self.dtype(&raw), columns, rows, bytes: raw.bytes()? });
        }
        members.into_iter().find_map(|member| {
            let id = self.type_of(member)?;
            let name = self.described(id).name.strip_prefix("pandas.")?;
            let name = name.rsplit('.').next()?.to_owned();
            (name.ends_with("Array") || name == "Categorical").then_some(())?;
            // Without its arrays it is a column at least.
            let unknown = Block { dtype: name.clone(), columns: 1, rows: 0, bytes: 0 };
            Some(self.extension(member, name, 0).unwrap_or(unknown))
        })
    }

    /// The columns of an extension array, mostly one: what Arrow holds, or the largest of its NumPy arrays, with
    /// those of the same length, as a mask is.
    fn extension(&mut self, object: u64, name: String, depth: usize) -> Option<Block> {
        (!self.view.is_late()).then_some(())?;
        let members = self.members_of(object)?;
        let chunked = members.iter().find_map(|member| {
            let id = self.type_of(*member)?;
            if self.is_chunked_array(id) { self.arrow_column(*member) } else { None }
        });
        if let Some(ArrowColumn { rows, bytes }) = chunked {
            return Some(Block { dtype: name, columns: 1, rows, bytes });
        }
        let own = members.iter().copied().filter(|member| self.is_array(*member));
        let own: Vec<u64> = own.collect();
        let own: Vec<RawArray> = own.into_iter().filter_map(|array| self.array(array)).collect();
        if let Some(largest) = own.iter().max_by_key(|array| array.bytes()) {
            let (columns, rows) = match *largest.shape.as_slice() {
                [rows] => (1, rows),
                [columns, rows] => (columns, rows),
                _ => return None,
            };
            let alike = own.iter().filter(|array| array.shape == largest.shape);
            let bytes = alike.filter_map(RawArray::bytes).fold(0, u64::saturating_add);
            return Some(Block { dtype: self.dtype(largest), columns, rows, bytes });
        }
        (depth < MAX_DEPTH).then_some(())?;
        members.into_iter().find_map(|member| {
            let id = self.type_of(member)?;
            let of = &self.described(id).name;
            let is_searched = of.starts_with("pandas.") || of == "dict";
            if is_searched { self.extension(member, name.clone(), depth + 1) } else { None }
        })
    }

    /// What an object refers to.
    fn members_of(&mut self, object: u64) -> Option<Vec<u64>> {
        let id = self.type_of(object)?;
        let mut members = Vec::new();
        self.references(object, id, &mut |_, reference| {
            if members.len() < MAX_MEMBERS {
                members.push(reference.target);
            }
        });
        Some(members)
    }
}
