//! What holds the columns of data frames: NumPy arrays, of which each row is a column, or the
//! extension arrays of pandas and of others, mostly of one column (pandas/core/arrays).

use super::{
    arrays::RawArray, arrow::ArrowColumn, edge::Edge, reader::Reader, references::Reference,
};

/// How far the arrays of an extension array are from it.
const MAX_DEPTH: usize = 3;
/// Members of an object that are looked at.
const MAX_MEMBERS: usize = 100;
/// Extension arrays whose NumPy arrays say nothing of what they are for.
const CALLED: [(&str, &str); 3] =
    [("Categorical", "category"), ("IntervalArray", "interval"), ("PeriodArray", "period")];

/// Columns of one type.
pub(super) struct Block {
    pub(super) dtype: String,
    pub(super) columns: u64,
    /// 0 if only the frame tells.
    pub(super) rows: u64,
    /// As `memory_usage(deep=False)` has them; of Arrow, all that the column keeps.
    pub(super) bytes: u64,
}

impl Reader<'_> {
    /// What a block of a frame holds.
    pub(super) fn block(&mut self, block: u64) -> Option<Block> {
        (!self.view.is_late()).then_some(())?;
        let members = self.members_of(block)?;
        members.into_iter().find_map(|member| self.column_values(member))
    }

    /// The columns of an array, be it NumPy's or an extension array.
    pub(super) fn column_values(&mut self, object: u64) -> Option<Block> {
        if self.is_array(object) {
            let array = self.array(object)?;
            return self.columns_of(&array);
        }
        let name = self.extension_name(object)?;
        let found = match name.as_str() {
            "SparseArray" => self.sparse(object),
            "Categorical" => self.categorical(object),
            _ => self.held(object, &name, 0),
        };
        let called = CALLED.iter().find(|(of, _)| *of == name).map(|(_, dtype)| *dtype);
        // Without its arrays it is a column at least.
        let dtype = called.map_or(name, str::to_owned);
        Some(match found {
            Some(found) if called.is_none() => found,
            Some(found) => Block { dtype, ..found },
            None => Block { dtype, columns: 1, rows: 0, bytes: 0 },
        })
    }

    fn columns_of(&mut self, array: &RawArray) -> Option<Block> {
        let (columns, rows) = match *array.shape.as_slice() {
            [rows] => (1, rows),
            [columns, rows] => (columns, rows),
            _ => return None,
        };
        Some(Block { dtype: self.dtype(array), columns, rows, bytes: array.bytes()? })
    }

    fn extension_name(&mut self, object: u64) -> Option<String> {
        let id = self.type_of(object)?;
        let name = self.described(id).name.rsplit('.').next()?;
        (name.ends_with("Array") || name == "Categorical").then(|| name.to_owned())
    }

    /// What Arrow holds, or the largest of its NumPy arrays and those of the same shape, as a mask
    /// is, or what the extension arrays hold that it consists of.
    fn held(&mut self, object: u64, name: &str, depth: usize) -> Option<Block> {
        (!self.view.is_late()).then_some(())?;
        let members = self.members_of(object)?;
        if let Some(ArrowColumn { rows, bytes }) = self.arrow_in(&members) {
            return Some(Block { dtype: name.to_owned(), columns: 1, rows, bytes });
        }
        let own = self.arrays_in(&members);
        if let Some(largest) = own.iter().max_by_key(|array| array.bytes()) {
            let alike = own.iter().filter(|array| array.shape == largest.shape);
            let bytes = total(alike);
            return Some(Block { bytes, ..self.columns_of(largest)? });
        }
        (depth < MAX_DEPTH).then_some(())?;
        let mut part = |member: &u64| {
            let name = self.extension_name(*member)?;
            self.held(*member, &name, depth + 1)
        };
        let parts: Vec<Block> = members.iter().filter_map(&mut part).collect();
        let rows = parts.iter().map(|part| part.rows).max()?;
        let bytes = parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add);
        Some(Block { dtype: name.to_owned(), columns: 1, rows, bytes })
    }

    /// The values that are not the usual one, and the numbers of the rows that they are in.
    fn sparse(&mut self, object: u64) -> Option<Block> {
        let members = self.members_of(object)?;
        let mut parts = self.arrays_in(&members);
        let dtype = format!("Sparse[{}]", self.dtype(parts.first()?));
        for member in members {
            let id = self.type_of(member)?;
            if self.described(id).name.starts_with("pandas._libs.sparse.") {
                let places = self.members_of(member)?;
                parts.extend(self.arrays_in(&places));
            }
        }
        Some(Block { dtype, columns: 1, rows: 0, bytes: total(parts.iter()) })
    }

    /// A number for each row, and the labels of the categories.
    fn categorical(&mut self, object: u64) -> Option<Block> {
        let codes = self.held(object, "", MAX_DEPTH)?;
        let categories = self.categories(object).map_or(0, |categories| categories.bytes);
        Some(Block { bytes: codes.bytes.saturating_add(categories), ..codes })
    }

    fn categories(&mut self, object: u64) -> Option<Block> {
        let members = self.members_of(object)?;
        members.into_iter().find_map(|member| {
            let id = self.type_of(member)?;
            self.described(id).name.ends_with("CategoricalDtype").then_some(())?;
            let index = self.attribute(member, id, "_categories")?;
            let id = self.type_of(index)?;
            let data = self.attribute(index, id, "_data")?;
            // Categories of categories there are none.
            match self.extension_name(data) {
                Some(name) => self.held(data, &name, 0),
                None => self.column_values(data),
            }
        })
    }

    fn arrow_in(&mut self, members: &[u64]) -> Option<ArrowColumn> {
        members.iter().find_map(|member| {
            let id = self.type_of(*member)?;
            if self.is_chunked_array(id) { self.arrow_column(*member) } else { None }
        })
    }

    fn arrays_in(&mut self, members: &[u64]) -> Vec<RawArray> {
        let mut array =
            |member: &u64| if self.is_array(*member) { self.array(*member) } else { None };
        members.iter().filter_map(&mut array).collect()
    }

    /// What an object refers to itself, and its attributes.
    fn members_of(&mut self, object: u64) -> Option<Vec<u64>> {
        let id = self.type_of(object)?;
        let (mut members, mut dicts) = (Vec::new(), Vec::new());
        self.references(object, id, &mut |_, Reference { edge, target, .. }| {
            let list = if edge == Edge::Dict { &mut dicts } else { &mut members };
            if list.len() < MAX_MEMBERS {
                list.push(target);
            }
        });
        for dict in dicts {
            let Some(id) = self.type_of(dict) else { continue };
            self.references(dict, id, &mut |_, Reference { edge, target, .. }| {
                let is_member = matches!(edge, Edge::Value(_)) && members.len() < MAX_MEMBERS;
                members.extend(is_member.then_some(target));
            });
        }
        Some(members)
    }
}

fn total<'a>(arrays: impl Iterator<Item = &'a RawArray>) -> u64 {
    arrays.filter_map(RawArray::bytes).fold(0, u64::saturating_add)
}
