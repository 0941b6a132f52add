//! Sizes of objects as `sys.getsizeof` gives them: what the type says, or what its `__sizeof__`
//! adds up, and the head before the object. Buffers of types that are not told apart here, such as
//! those of `io.BytesIO`, are not counted.

use super::{
    kind::{Kind, flag, scalar_bytes},
    reader::{OB_SIZE, Reader},
    text::StrState,
    types::{Type, TypeId},
};
use crate::python::Locals;

/// Bytes of a deque's block, and the items in one (Modules/_collectionsmodule.c).
const BLOCK_BYTES: u64 = 66 * 8;
pub(super) const BLOCK_ITEMS: u64 = 64;
/// In a time or a date with one: whether it has a time zone (`hastzinfo` in
/// Include/datetime.h); without, it lacks the last member, though its `__sizeof__` counts it.
const HAS_ZONE: u64 = 24;
const ZONE_BYTES: u64 = 8;
/// In a buffered file (`Modules/_io/bufferedio.c`).
const BUFFER: u64 = 56;
const BUFFER_SIZE: u64 = 120;
/// In an array's element with fields: its `descr` (`PyVoidScalarObject` in
/// numpy/arrayscalars.h).
const VOID_DESCRIPTION: u64 = 32;
/// Larger ones are not believed: 1 TiB.
const MAX_SIZE: u64 = 1 << 40;

impl Reader<'_> {
    /// Bytes of an object, its head included; `None`: it contradicts itself.
    pub(super) fn size_of(&mut self, object: u64, id: TypeId) -> Option<u64> {
        let of = self.described(id);
        let (kind, mut head) = (of.kind, of.head());
        let sizes = Sizes { basic: of.basic_size, item: of.item_size };
        // NumPy's `__sizeof__` counts the value a second time.
        if kind == Kind::NumpyScalar {
            head += scalar_bytes(&of.name).unwrap_or(0);
        } else if of.name == "numpy.bytes_" {
            head += self.items(object, 1)?;
        }
        let size = match kind {
            Kind::Type => self.ctypes_type(object, id),
            Kind::Dict if self.is_ctypes_dict(id) => {
                head += self.ctypes_dict(object, sizes.basic)?;
                None
            }
            _ => None,
        };
        let size = size.or_else(|| self.own_size(object, kind, sizes))?;
        // 3.11 and 3.12 count a head for types that have none (`_PyType_PreHeaderSize`).
        let counts_all = matches!(self.interpreter.structures.minor, 11 | 12);
        let is_static = kind == Kind::Type && !counts_all && !self.is_heap_type(object);
        size.checked_add(if is_static { 0 } else { head }).filter(|size| *size <= MAX_SIZE)
    }

    /// Whether an object may lie in a block of `room` bytes, its head included. What a block was used
    /// for before may look like one that says that it is much larger.
    pub(super) fn fits(&mut self, object: u64, id: TypeId, room: u64) -> bool {
        let of = self.described(id);
        let (kind, basic, head) = (of.kind, of.basic_size, of.head());
        let size = match kind {
            Kind::Str => self.str_state(object).and_then(|state| self.str_itself(&state)),
            Kind::Int | Kind::Tuple | Kind::Bytes | Kind::Other => self.size_of(object, id),
            Kind::Time => {
                let has_zone = self.view.byte(object.wrapping_add(HAS_ZONE));
                let absent = if has_zone == Some(0) { ZONE_BYTES } else { 0 };
                self.size_of(object, id).and_then(|size| size.checked_sub(absent))
            }
            Kind::Type if !self.is_heap_type(object) => Some(self.interpreter.structures.type_size),
            // What they hold is elsewhere.
            _ => basic.checked_add(head),
        };
        size.is_some_and(|size| size <= room)
    }

    /// The fixed part and the items.
    fn extended(&mut self, object: u64, sizes: Sizes) -> Option<u64> {
        sizes.basic.checked_add(sizes.item.checked_mul(self.items(object, sizes.item)?)?)
    }

    fn own_size(&mut self, object: u64, kind: Kind, sizes: Sizes) -> Option<u64> {
        let basic = sizes.basic;
        Some(match kind {
            Kind::Int => self.int_size(object, sizes)?,
            Kind::Str => self.str_size(object)?,
            Kind::Type => self.type_size(object)?,
            Kind::Generator if self.interpreter.structures.generator_frame.is_some() => {
                self.generator_size(object)?
            }
            Kind::Frame => self.frame_size(object, basic)?,
            Kind::Code if self.interpreter.structures.minor < 11 => {
                basic + self.cells_as_arguments(object)?
            }
            Kind::NumpyArray => self.array_size(object, basic)?,
            // `_PyObject_VAR_SIZE` rounds up (3.11 `Objects/codeobject.c`, `code_sizeof`).
            Kind::Code => self.extended(object, sizes)?.checked_next_multiple_of(8)?,
            _ => basic.checked_add(self.bytes_apart(object, kind, sizes)?)?,
        })
    }

    /// What counts beside the fixed part: memory elsewhere that is the object's alone, or its items.
    fn bytes_apart(&mut self, object: u64, kind: Kind, sizes: Sizes) -> Option<u64> {
        match kind {
            Kind::List => self.words_at(object, 32),
            Kind::Dict => self.dict_bytes(object),
            Kind::OrderedDict => self.ordered_dict_bytes(object),
            Kind::Set => self.set_bytes(object),
            Kind::Deque => self.deque_blocks(object),
            Kind::ByteArray => self.view.word(object.wrapping_add(24)),
            Kind::TypedArray => self.typed_array_bytes(object),
            Kind::Struct => self.struct_codes(object),
            Kind::Element => self.element_children(object),
            Kind::Pickler => self.pickler_bytes(object, sizes.basic),
            Kind::Unpickler => self.unpickler_bytes(object, sizes.basic),
            Kind::Product => self.product_indices(object),
            Kind::NumpyVoid => self.record_bytes(object),
            Kind::BufferedFile => self.file_buffer(object),
            _ => self.items(object, sizes.item)?.checked_mul(sizes.item),
        }
    }

    /// Bytes of as many words as the member says.
    fn words_at(&mut self, object: u64, member: u64) -> Option<u64> {
        self.view.word(object.wrapping_add(member))?.checked_mul(8)
    }

    fn deque_blocks(&mut self, object: u64) -> Option<u64> {
        let [size, first] = [OB_SIZE, 40].map(|member| self.view.word(object.wrapping_add(member)));
        first?.checked_add(size?)?.div_ceil(BLOCK_ITEMS).checked_mul(BLOCK_BYTES)
    }

    fn typed_array_bytes(&mut self, object: u64) -> Option<u64> {
        let [room, description] = self.view.words(object.wrapping_add(32))?;
        let item = u64::from(self.view.half(description.wrapping_add(4))?);
        room.checked_mul(item)
    }

    /// `itertools.product` counts a number for each of its iterables.
    fn product_indices(&mut self, object: u64) -> Option<u64> {
        let pools = self.view.word(object.wrapping_add(16))?;
        self.words_at(pools, OB_SIZE)
    }

    fn record_bytes(&mut self, object: u64) -> Option<u64> {
        let description = self.view.word(object.wrapping_add(VOID_DESCRIPTION))?;
        Some(self.element(description)?.size)
    }

    fn file_buffer(&mut self, object: u64) -> Option<u64> {
        let buffer = self.view.word(object.wrapping_add(BUFFER))?;
        if buffer == 0 { Some(0) } else { self.view.word(object.wrapping_add(BUFFER_SIZE)) }
    }

    /// Items behind the object's fixed part.
    pub(super) fn items(&mut self, object: u64, item_size: u64) -> Option<u64> {
        if item_size == 0 {
            return Some(0);
        }
        let items = self.view.word(object.wrapping_add(OB_SIZE))?.cast_signed().unsigned_abs();
        (items <= MAX_SIZE).then_some(items)
    }

    fn int_size(&mut self, object: u64, sizes: Sizes) -> Option<u64> {
        let digits = self.view.word(object.wrapping_add(OB_SIZE))?;
        if self.interpreter.structures.minor >= 12 {
            return sizes.basic.checked_add((digits >> 3).max(1).checked_mul(sizes.item)?);
        }
        // From 3.11.2 on zero counts a digit that it does not use.
        let least = u64::from(self.interpreter.structures.minor >= 11);
        digits.cast_signed().unsigned_abs().max(least).checked_mul(4)?.checked_add(24)
    }

    fn str_size(&mut self, object: u64) -> Option<u64> {
        let told = self.str_state(object)?;
        let mut size = self.str_itself(&told)?;
        let (state, length) = told;
        if !state.is_compact {
            size = size.checked_add(state.bytes(length)?)?;
        }
        if !state.is_ascii {
            let ascii = self.interpreter.frames.string_ascii.into();
            let [utf8_length, utf8] = self.view.words(object.wrapping_add(ascii))?;
            if utf8 != 0 && utf8 != state.data {
                size = size.checked_add(utf8_length)?.checked_add(1)?;
            }
        }
        size.checked_add(self.wide_copy(object, state.data, length, state.is_ascii)?)
    }

    /// Bytes of the object alone, which holds the characters if it is compact.
    fn str_itself(&self, (state, length): &(StrState, u64)) -> Option<u64> {
        let frames = &self.interpreter.frames;
        let [ascii, compact] = [frames.string_ascii, frames.string_compact].map(u64::from);
        match (state.is_compact, state.is_ascii) {
            (true, true) => state.bytes(*length)?.checked_add(ascii),
            (true, false) => state.bytes(*length)?.checked_add(compact),
            _ => Some(compact + 8),
        }
    }

    /// Up to 3.11, strings may keep a copy of four bytes a character.
    fn wide_copy(&mut self, object: u64, data: u64, length: u64, is_ascii: bool) -> Option<u64> {
        if self.interpreter.structures.minor >= 12 {
            return Some(0);
        }
        let copy = self.view.word(object.wrapping_add(40))?;
        if copy == 0 || copy == data {
            return Some(0);
        }
        let length = if is_ascii { length } else { self.view.word(object.wrapping_add(64))? };
        length.checked_add(1)?.checked_mul(4)
    }

    fn dict_bytes(&mut self, object: u64) -> Option<u64> {
        let keys = self.interpreter.structures.keys;
        Some(self.dictionary(object)?.bytes(keys))
    }

    /// Beyond those of the object: a list of its keys in order, and a table to find them in.
    fn ordered_dict_bytes(&mut self, object: u64) -> Option<u64> {
        let dictionary = self.dictionary(object)?;
        let bytes = dictionary.bytes(self.interpreter.structures.keys);
        let [first, _, _, slots] = self.view.words(object.wrapping_add(48))?;
        let nodes = if first == 0 { 0 } else { dictionary.length.checked_mul(32)? };
        bytes.checked_add(slots.checked_mul(8)?)?.checked_add(nodes)
    }

    fn set_bytes(&mut self, object: u64) -> Option<u64> {
        let [mask, table] = self.view.words(object.wrapping_add(32))?;
        let is_inside = table == object.wrapping_add(64);
        let slots = mask.checked_add(1).filter(|slots| slots.is_power_of_two())?;
        if is_inside { Some(0) } else { slots.checked_mul(16) }
    }

    /// What an element has apart from itself: attributes, and its children, the first four of which have
    /// room there (`ElementObjectExtra` in Modules/_elementtree.c).
    fn element_children(&mut self, object: u64) -> Option<u64> {
        let extra = self.view.word(object.wrapping_add(40))?;
        if extra == 0 {
            return Some(0);
        }
        let [room, children] = self.view.words(extra.wrapping_add(16))?;
        let elsewhere = if children == extra.wrapping_add(32) { 0 } else { room };
        elsewhere.checked_mul(8)?.checked_add(64)
    }

    pub(super) fn is_heap_type(&mut self, of: u64) -> bool {
        self.resolve(of).is_some_and(|id| self.described(id).has(flag::HEAP_TYPE))
    }

    fn type_size(&mut self, of: u64) -> Option<u64> {
        let structures = self.interpreter.structures;
        if !self.is_heap_type(of) {
            return Some(structures.type_size);
        }
        let keys = self.view.word(of.wrapping_add(structures.qualified_name + 8))?;
        let shared = if keys == 0 { 0 } else { self.table(keys)?.bytes };
        Some(structures.heap_type_size + shared)
    }

    fn generator_size(&mut self, object: u64) -> Option<u64> {
        let structures = self.interpreter.structures;
        let frame = structures.generator_frame?;
        let code = self.code(object.wrapping_add(frame))?;
        Some(frame + structures.frame_locals + self.slots(code)?.checked_mul(8)?)
    }

    /// A frame object: up to 3.10 the frame itself, then one that points to a frame.
    fn frame_size(&mut self, object: u64, basic: u64) -> Option<u64> {
        let structures = self.interpreter.structures;
        if structures.minor < 11 {
            let code = self.code(object)?;
            return Some(structures.frame_locals + self.slots(code)?.checked_mul(8)?);
        }
        let frame = self.view.word(object.wrapping_add(24))?;
        let code = self.code(frame)?;
        Some(basic + self.slots(code)?.checked_mul(8)?)
    }

    /// Local variables and the deepest stack of a code object.
    fn slots(&mut self, code: u64) -> Option<u64> {
        let names = self.local_names(code)?;
        let (Locals::Three(_, depth) | Locals::One(_, depth)) = self.interpreter.structures.locals;
        let depth = u64::from(self.view.half(code.wrapping_add(depth))?);
        Some(names.iter().map(|names| names.1).sum::<u64>() + depth)
    }

    /// Up to 3.10: a word for each cell if one of them is an argument (`co_cell2arg`).
    fn cells_as_arguments(&mut self, code: u64) -> Option<u64> {
        let [cells, map] = self.view.words(code.wrapping_add(88))?;
        Some(if map == 0 { 0 } else { self.items(cells, 8)? * 8 })
    }
}

/// What a type says of the sizes of its objects.
#[derive(Clone, Copy)]
struct Sizes {
    basic: u64,
    item: u64,
}

impl Type {
    /// Whether one can tell how many objects an object of this type holds from its size.
    pub(super) fn has_items(&self) -> bool {
        self.item_size == 8
    }
}
