//! NumPy arrays (numpy/core/include/numpy/ndarraytypes.h), releases 1.16 to 2.5.

use memtrace_abi::mapping::Range;

use super::{
    kind::Kind,
    model::Owner,
    reader::{Reader, is_in_use},
    view::ADDRESS_END,
};

/// Members of a `PyArrayObject_fields`; `dimensions` and `strides` follow one another, as do `base`
/// and `descr`.
const DATA: u64 = 16;
const DIMENSION_COUNT: u64 = 24;
const DIMENSIONS: u64 = 32;
pub(super) const BASE: u64 = 48;
const FLAGS: u64 = 64;
/// `NPY_ARRAY_OWNDATA`.
const OWNS_DATA: u32 = 4;
/// `NPY_MAXDIMS`, 32 before NumPy 2.
const MAX_DIMENSIONS: u32 = 64;

/// Of arrays of so many bytes it is made sure that they were not freed while they were read.
const LARGE: u64 = 1 << 20;

/// An array as it is in memory.
#[derive(Clone, Debug)]
pub(super) struct RawArray {
    pub(super) data: u64,
    pub(super) shape: Vec<u64>,
    strides: Vec<i64>,
    pub(super) base: u64,
    pub(super) description: u64,
    pub(super) item_size: u64,
    owns: bool,
}

impl RawArray {
    /// Elements times their size; `None` if that is more than an address space.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.shape.iter().try_fold(self.item_size, |bytes, length| bytes.checked_mul(*length))
    }

    /// Bytes of memory that are the array's own.
    pub(super) fn owned_bytes(&self) -> u64 {
        if self.owns { self.bytes().unwrap_or(0) } else { 0 }
    }

    /// The addresses of its elements, first to last.
    pub(super) fn extent(&self) -> Range {
        if self.shape.contains(&0) {
            return Range { start: self.data, end: self.data };
        }
        let (mut start, mut end) = (self.data, self.data.wrapping_add(self.item_size));
        for (length, stride) in self.shape.iter().zip(&self.strides) {
            let distance = stride.wrapping_mul((length - 1).cast_signed());
            if distance < 0 {
                start = start.wrapping_add_signed(distance);
            } else {
                end = end.wrapping_add_signed(distance);
            }
        }
        Range { start, end: end.max(start) }
    }

    /// Whether it can be: what was freed meanwhile has lengths and strides that do not go together.
    /// NumPy leaves no gaps in what an array owns.
    fn is_sane(&self) -> bool {
        let Range { start, end } = self.extent();
        self.bytes().is_some_and(|bytes| {
            end < ADDRESS_END
                && bytes < ADDRESS_END
                && (!self.owns || bytes == 0 || end - start == bytes)
        })
    }
}

impl Reader<'_> {
    /// The array at an address, which is one by its type.
    pub(super) fn array(&mut self, object: u64) -> Option<RawArray> {
        let count = self.view.half(object.wrapping_add(DIMENSION_COUNT))?;
        (count <= MAX_DIMENSIONS).then_some(())?;
        let [dimensions, strides, base, description] =
            self.view.words(object.wrapping_add(DIMENSIONS))?;
        let mut list = |start: u64| -> Option<Vec<u64>> {
            (0..count.into()).map(|index| self.view.word(start.wrapping_add(index * 8))).collect()
        };
        let shape = list(dimensions)?;
        let strides = list(strides)?.into_iter().map(u64::cast_signed).collect();
        let array = RawArray {
            data: self.view.word(object.wrapping_add(DATA))?,
            shape,
            strides,
            base,
            description,
            item_size: self.element(description)?.size,
            owns: self.view.half(object.wrapping_add(FLAGS))? & OWNS_DATA != 0,
        };
        let is_large = array.bytes()? >= LARGE;
        let is_there = !is_large || self.is_still(object, dimensions, &array.shape);
        (array.is_sane() && is_there).then_some(array)
    }

    /// Whether it has these lengths now: what is read of an object and of its lengths may be of two
    /// moments, and the array may have been freed in between.
    fn is_still(&mut self, object: u64, dimensions: u64, shape: &[u64]) -> bool {
        let places = (dimensions..).step_by(8);
        let are_same =
            places.zip(shape).all(|(at, length)| self.view.word_now(at) == Some(*length));
        let minor = self.interpreter.structures.minor;
        let references = self.view.word_now(object);
        are_same
            && references.is_some_and(|references| is_in_use(references, minor))
            && self.view.word_now(object.wrapping_add(DIMENSIONS)) == Some(dimensions)
    }

    /// Bytes as `ndarray.__sizeof__` has them.
    pub(super) fn array_size(&mut self, object: u64, basic: u64) -> Option<u64> {
        let array = self.array(object)?;
        Some(basic + array.shape.len() as u64 * 16 + array.owned_bytes())
    }

    /// Whether its elements are Python objects.
    pub(super) fn holds_objects(&mut self, array: &RawArray) -> bool {
        array.item_size == 8
            && self.element(array.description).is_some_and(|element| element.kind == b'O')
    }

    pub(super) fn owner(&mut self, array: &RawArray) -> Owner {
        match array.base {
            _ if array.owns => Owner::Itself,
            0 => Owner::Unknown,
            address => match self.type_of(address) {
                Some(id) => Owner::Base { address, type_name: self.described(id).name.clone() },
                None => Owner::Unknown,
            },
        }
    }

    pub(super) fn is_array(&mut self, object: u64) -> bool {
        self.type_of(object).is_some_and(|id| self.described(id).kind == Kind::NumpyArray)
    }
}
