//! What kinds of objects are laid out in a way that matters here, told by type flags and by the
//! names of the built-in types that a type derives from.

use super::types::Type;

/// Bits of `tp_flags` (Include/object.h), the same in 3.8 to 3.14 unless said otherwise.
pub(super) mod flag {
    pub(crate) const INLINE_VALUES: u64 = 1 << 2;
    /// 3.12 and later.
    pub(crate) const MANAGED_WEAKREF: u64 = 1 << 3;
    /// 3.11 and later.
    pub(crate) const MANAGED_DICT: u64 = 1 << 4;
    pub(crate) const HEAP_TYPE: u64 = 1 << 9;
    pub(crate) const READY: u64 = 1 << 12;
    pub(crate) const HAVE_GC: u64 = 1 << 14;
    pub(crate) const INT: u64 = 1 << 24;
    pub(crate) const LIST: u64 = 1 << 25;
    pub(crate) const TUPLE: u64 = 1 << 26;
    pub(crate) const BYTES: u64 = 1 << 27;
    pub(crate) const STR: u64 = 1 << 28;
    pub(crate) const DICT: u64 = 1 << 29;
    pub(crate) const TYPE: u64 = 1 << 31;
}

/// How objects of a type are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    List,
    Tuple,
    Bytes,
    Str,
    Dict,
    OrderedDict,
    Type,
    Set,
    Deque,
    ByteArray,
    /// `array.array`.
    TypedArray,
    /// `struct.Struct`.
    Struct,
    /// `io.BufferedReader` and the like.
    BufferedFile,
    /// `io.StringIO`.
    StringFile,
    /// `mmap.mmap`.
    MemoryMap,
    /// What `ctypes` makes: arrays, structures and the like.
    Foreign,
    /// `xml.etree.ElementTree.Element`.
    Element,
    /// `pickle.Pickler`.
    Pickler,
    /// `pickle.Unpickler`.
    Unpickler,
    /// `itertools.product`.
    Product,
    /// `datetime.time` and `datetime.datetime`.
    Time,
    Cell,
    Module,
    Code,
    /// Coroutines and asynchronous generators too.
    Generator,
    /// A frame object.
    Frame,
    NumpyArray,
    /// An element of an array on its own, such as a `numpy.float64`.
    NumpyScalar,
    /// An element with fields, or of raw bytes.
    NumpyVoid,
    Other,
}

impl Kind {
    /// The kind of a type by its flags and its name as the type itself says it; `None`: that of
    /// the type it derives from.
    pub(super) fn of(flags: u64, name: &str) -> Option<Self> {
        let by_flag = [
            (flag::INT, Self::Int),
            (flag::LIST, Self::List),
            (flag::TUPLE, Self::Tuple),
            (flag::BYTES, Self::Bytes),
            (flag::STR, Self::Str),
            (flag::TYPE, Self::Type),
        ];
        if let Some((_, kind)) = by_flag.into_iter().find(|(bit, _)| flags & bit != 0) {
            return Some(kind);
        }
        let is_built_in = flags & flag::HEAP_TYPE == 0;
        match name {
            "numpy.ndarray" if is_built_in => Some(Self::NumpyArray),
            "collections.deque" => Some(Self::Deque),
            "collections.OrderedDict" if flags & flag::DICT != 0 => Some(Self::OrderedDict),
            "array.array" => Some(Self::TypedArray),
            "_struct.Struct" => Some(Self::Struct),
            "_io.BufferedReader" | "_io.BufferedWriter" | "_io.BufferedRandom" => {
                Some(Self::BufferedFile)
            }
            "_io.StringIO" => Some(Self::StringFile),
            "mmap.mmap" => Some(Self::MemoryMap),
            "_ctypes._CData" => Some(Self::Foreign),
            "xml.etree.ElementTree.Element" => Some(Self::Element),
            "_pickle.Pickler" => Some(Self::Pickler),
            "_pickle.Unpickler" => Some(Self::Unpickler),
            "itertools.product" => Some(Self::Product),
            // 3.8.
            "Struct" if is_built_in => Some(Self::Struct),
            _ if is_built_in => Self::built_in(name),
            _ => None,
        }
    }

    fn built_in(name: &str) -> Option<Self> {
        Some(match name {
            "dict" => Self::Dict,
            "set" | "frozenset" => Self::Set,
            "bytearray" => Self::ByteArray,
            "cell" => Self::Cell,
            "module" => Self::Module,
            "code" => Self::Code,
            "frame" => Self::Frame,
            "datetime.time" | "datetime.datetime" => Self::Time,
            "numpy.void" => Self::NumpyVoid,
            "generator" | "coroutine" | "async_generator" => Self::Generator,
            _ if scalar_bytes(name).is_some() => Self::NumpyScalar,
            _ => return None,
        })
    }

    /// Where the members that are the same for all of this kind end, bytes from the start: those
    /// of derived types follow.
    pub(super) fn end(self) -> u64 {
        match self {
            Self::Dict | Self::StringFile => 48,
            Self::OrderedDict => 96,
            Self::List => 40,
            Self::Set => 200,
            Self::Deque => 72,
            Self::ByteArray => 56,
            Self::NumpyArray | Self::TypedArray => 64,
            Self::Cell => 24,
            Self::MemoryMap => 32,
            _ => 16,
        }
    }

    /// Whether objects of this kind, and of types that derive from it, hold a number of others.
    pub(super) fn is_container(self) -> bool {
        use Kind::{Deque, Dict, List, OrderedDict, Set, Tuple};
        matches!(self, Dict | OrderedDict | List | Tuple | Set | Deque)
    }

    /// Whether they are there to hold data.
    pub(super) const fn is_buffer(self) -> bool {
        matches!(self, Self::Bytes | Self::Str | Self::ByteArray | Self::TypedArray)
            || self.holds_uncounted()
    }

    /// Whether `sys.getsizeof` does not count the data that they hold.
    pub(super) const fn holds_uncounted(self) -> bool {
        matches!(self, Self::StringFile | Self::MemoryMap | Self::Foreign)
    }
}

/// Bytes of the value in a NumPy scalar, which its type's name tells.
pub(super) fn scalar_bytes(name: &str) -> Option<u64> {
    let name = name.strip_prefix("numpy.")?;
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match stem {
        "bool" | "bool_" => Some(1),
        "longlong" | "ulonglong" => Some(8),
        "longdouble" => Some(16),
        "clongdouble" => Some(32),
        "int" | "uint" | "float" | "complex" | "datetime" | "timedelta" => {
            name[stem.len()..].parse().ok().map(|bits: u64| bits / 8)
        }
        _ => None,
    }
}

impl Type {
    pub(super) fn has(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }

    /// Bytes before the object: a head for the collector, and two pointers for managed
    /// dicts and weak references (`_PyType_PreHeaderSize`).
    pub(super) fn head(&self) -> u64 {
        let managed = self.has(flag::MANAGED_DICT) || self.has(flag::MANAGED_WEAKREF);
        u64::from(self.has(flag::HAVE_GC)) * 16 + u64::from(managed && self.minor >= 11) * 16
    }

    /// Whether it matters who holds its objects, however small: they refer to others, or to data
    /// elsewhere.
    pub(super) fn refers(&self) -> bool {
        use Kind::{ByteArray, MemoryMap, NumpyArray, TypedArray};
        self.has(flag::HAVE_GC)
            || matches!(self.kind, NumpyArray | ByteArray | TypedArray | MemoryMap)
    }
}
