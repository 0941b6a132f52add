//! The element types of NumPy arrays, and their names.

use super::{arrays::RawArray, reader::Reader};

/// Of so many fields of a record the names are shown.
const FIELDS: usize = 8;
const MAX_NAME: usize = 40;
/// `byteorder`.
const BYTE_ORDER: u64 = 26;
/// In the metadata of times, behind what all metadata begins with: unit and number of units.
const UNIT: u64 = 32;
/// `NPY_DATETIMEUNIT` (numpy/core/include/numpy/ndarraytypes.h); one is not used any more, and what is
/// behind has no unit.
const UNITS: [&str; 14] =
    ["Y", "M", "W", "", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as"];

/// An element type as it is in memory.
pub(super) struct Element {
    pub(super) kind: u8,
    /// Whether it is not as this machine has it.
    is_swapped: bool,
    pub(super) size: u64,
    /// Where the names of a record's fields are, and the metadata of times.
    names: u64,
    metadata: u64,
}

impl Reader<'_> {
    /// NumPy 2 made `elsize` and `alignment` words and put 64 bits of flags where they had been;
    /// their upper half is zero, and no alignment is.
    pub(super) fn element(&mut self, description: u64) -> Option<Element> {
        let kind = self.view.byte(description.wrapping_add(24))?;
        let [size, alignment] =
            [32, 36].map(|member| self.view.half(description.wrapping_add(member)));
        let (size, [names, metadata]) = match (size?, alignment?) {
            (_, 0) => (self.view.word(description.wrapping_add(40))?, [104, 112]),
            (size, _) => (size.into(), [56, 80]),
        };
        let [names, metadata] = [names, metadata].map(|member| description.wrapping_add(member));
        let is_swapped = self.view.byte(description.wrapping_add(BYTE_ORDER))? == b'>';
        (size < 1 << 40).then_some(Element { kind, is_swapped, size, names, metadata })
    }

    /// The name of the element type as NumPy prints it, `float64`; with the fields of a record.
    pub(super) fn dtype(&mut self, array: &RawArray) -> String {
        let element = self.element(array.description);
        let named = element.and_then(|element| {
            let Element { kind, is_swapped, size, metadata, names } = element;
            let bits = size * 8;
            let order = if is_swapped { ", big-endian" } else { "" };
            let name = match kind {
                b'b' => "bool".to_owned(),
                b'i' => format!("int{bits}"),
                b'u' => format!("uint{bits}"),
                b'f' => format!("float{bits}"),
                b'c' => format!("complex{bits}"),
                b'O' => "object".to_owned(),
                b'S' => format!("S{size}"),
                b'U' => format!("U{}", size / 4),
                b'M' => format!("datetime64{}", self.unit(metadata)),
                b'm' => format!("timedelta64{}", self.unit(metadata)),
                b'V' => format!("void{bits}{}", self.fields_of(names)?),
                _ => return None,
            };
            Some(name + order)
        });
        named.unwrap_or_else(|| self.scalar_name(array.description, array.item_size))
    }

    /// `[ns]`, or nothing if times have no unit.
    fn unit(&mut self, metadata: u64) -> String {
        let unit = self.view.word(metadata).filter(|at| *at != 0);
        let unit = unit.and_then(|at| self.view.word(at.wrapping_add(UNIT)));
        let name = unit.and_then(|unit| UNITS.get((unit & 0xffff_ffff) as usize));
        match (name, unit.map_or(0, |unit| unit >> 32)) {
            (None | Some(&""), _) | (_, 0) => String::new(),
            (Some(name), 1) => format!("[{name}]"),
            (Some(name), count) => format!("[{count}{name}]"),
        }
    }

    /// ` (id, name)`: the names of the fields of a record.
    fn fields_of(&mut self, names: u64) -> Option<String> {
        let names = self.view.word(names).filter(|names| *names != 0)?;
        let count = self.size(names);
        let first = names.wrapping_add(self.interpreter.structures.tuple_items);
        let mut list = Vec::new();
        for index in 0..count.min(FIELDS as u64) {
            let name = self.view.word(first.wrapping_add(index * 8))?;
            list.push(self.characters(name, MAX_NAME)?);
        }
        (!list.is_empty()).then_some(())?;
        let more = if count > FIELDS as u64 { ", .." } else { "" };
        Some(format!(" ({}{more})", list.join(", ")))
    }

    /// The name of the type that elements become; with a size for what has no other.
    fn scalar_name(&mut self, description: u64, size: u64) -> String {
        let scalar = self.view.word(description.wrapping_add(16));
        let name = scalar.and_then(|scalar| self.resolve(scalar)).map(|id| {
            let name = &self.described(id).name;
            name.strip_prefix("numpy.").unwrap_or(name).to_owned()
        });
        match name.as_deref() {
            Some("void") | None => format!("void{}", size * 8),
            Some(name) => name.to_owned(),
        }
    }
}
