//! What objects of `struct` and `ctypes` keep beside them and count as their own: how bytes are laid
//! out (Modules/_struct.c, Modules/_ctypes/stgdict.c, from 3.13 on ctypes.h).

use super::{reader::Reader, types::TypeId};

/// `PyStructObject.s_codes`, and bytes of a `formatcode`, the first word of which is 0 in the last.
const CODES: u64 = 32;
const CODE_BYTES: u64 = 32;
const MAX_CODES: u64 = 1 << 20;
/// Bytes of a `PyDictObject`.
const DICT_BYTES: u64 = 48;
/// Behind a type, for what `ctypes` knows of it: `_Py_SIZE_ROUND_UP` to the largest alignment.
const TYPE_ALIGNMENT: u64 = 16;
/// No format is longer.
const MAX_FORMAT: usize = 1 << 12;

/// Where the members are of what `ctypes` knows of a type.
struct Members {
    length: u64,
    elements: u64,
    format: u64,
    dimensions: u64,
}

/// In a `StgDictObject`.
const IN_DICT: Members = Members { length: 64, elements: 88, format: 168, dimensions: 176 };
/// In a `StgInfo` of 160 bytes, as in 3.13, and of 176, as in 3.14.
const IN_TYPE: [(u64, Members); 2] = [
    (160, Members { length: 24, elements: 48, format: 136, dimensions: 144 }),
    (176, Members { length: 24, elements: 48, format: 144, dimensions: 152 }),
];

impl Reader<'_> {
    /// Bytes of the codes of a `struct.Struct`.
    pub(super) fn struct_codes(&mut self, object: u64) -> Option<u64> {
        let mut code = self.view.word(object.wrapping_add(CODES))?;
        for count in 1..MAX_CODES {
            if self.view.word(code)? == 0 {
                return Some(count * CODE_BYTES);
            }
            code = code.checked_add(CODE_BYTES)?;
        }
        None
    }

    pub(super) fn is_ctypes_dict(&self, id: TypeId) -> bool {
        let of = self.described(id);
        of.name == "StgDict" && of.basic_size > DICT_BYTES
    }

    /// What a dict of `ctypes` has beyond those of others, which it counts twice.
    pub(super) fn ctypes_dict(&mut self, object: u64, basic: u64) -> Option<u64> {
        self.layout(object, &IN_DICT)?.checked_add(basic - DICT_BYTES)
    }

    /// The size of a type of `ctypes` from 3.13 on, where it is the type that knows its layout;
    /// `None`: it is none.
    pub(super) fn ctypes_type(&mut self, object: u64, id: TypeId) -> Option<u64> {
        let plain = self.interpreter.structures.heap_type_size.next_multiple_of(TYPE_ALIGNMENT);
        let of = self.described(id);
        let (basic, more) = (of.basic_size, of.basic_size.checked_sub(plain)?);
        of.name.starts_with("_ctypes.").then_some(())?;
        let (_, members) = IN_TYPE.iter().find(|(bytes, _)| *bytes == more)?;
        self.layout(object.wrapping_add(plain), members)?.checked_add(basic)
    }

    fn layout(&mut self, at: u64, members: &Members) -> Option<u64> {
        let mut word = |member: u64| self.view.word(at.wrapping_add(member));
        let (length, elements) = (word(members.length)?, word(members.elements)?);
        let (format, dimensions) = (word(members.format)?, word(members.dimensions)? & 0xffff_ffff);
        let elements = if elements == 0 { 0 } else { length.checked_add(1)?.checked_mul(8)? };
        let format =
            if format == 0 { 0 } else { self.c_string(format, MAX_FORMAT)?.len() as u64 + 1 };
        elements.checked_add(format)?.checked_add(dimensions * 8)
    }
}
