//! What reading the objects of a process takes beyond its stacks: offsets by minor version, x86-64,
//! builds with the global interpreter lock. Every number is `offsetof` or `sizeof` compiled against
//! the version's own headers.

use memtrace_abi::{mapping::Range, python::Python};

use super::Version;

/// An interpreter in a process. Addresses are the process's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Which release.
    pub version: Version,
    /// What `_PyRuntime` covers.
    pub runtime: Range,
    /// The file's writable data, `_PyRuntime` and static types included.
    pub data: Vec<Range>,
    /// Address of `PyType_Type`.
    pub type_type: u64,
    /// How its frames and code objects are laid out; thread-specific data is not filled in.
    pub frames: Python,
    /// How its other structures are laid out.
    pub structures: Structures,
}

/// Offsets and sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structures {
    /// In `_PyRuntime`: the first `PyInterpreterState`.
    pub interpreters_head: u64,
    /// In a `PyInterpreterState`: the next one.
    pub interpreter_next: u64,
    /// In a `PyInterpreterState`: its first `PyThreadState`, whose second word is the next one.
    pub threads_head: u64,
    /// In a `PyThreadState`: the `pthread_t`.
    pub thread: u64,
    /// In a `PyThreadState`: the kernel's thread id (3.11 and later).
    pub native_thread: Option<u64>,
    /// In a frame: the first local variable.
    pub frame_locals: u64,
    /// In a frame: `f_globals`; `f_locals` is two words behind it in frames of 3.11 and later, and
    /// one word behind it before.
    pub frame_globals: u64,
    /// What code objects say of local variables.
    pub locals: Locals,
    /// In a generator: its frame (3.11 and later).
    pub generator_frame: Option<u64>,
    /// In a tuple: the first item.
    pub tuple_items: u64,
    /// `sizeof(PyTypeObject)`.
    pub type_size: u64,
    /// `sizeof(PyHeapTypeObject)`.
    pub heap_type_size: u64,
    /// In a `PyHeapTypeObject`: `ht_qualname`; `ht_cached_keys` follows.
    pub qualified_name: u64,
    /// How a dict's keys are laid out.
    pub keys: Keys,
    /// Where instances keep their attributes.
    pub instances: Instances,
    /// log2 of the bytes of a pymalloc pool.
    pub pool_bits: u32,
    /// log2 of the bytes of a pymalloc arena.
    pub arena_bits: u32,
    /// Minor version: 11 for 3.11.
    pub minor: u8,
}

/// Where a code object says which local variables there are. All are tuples of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locals {
    /// `co_varnames`, `co_cellvars`, `co_freevars`, which follow one another in frames; then
    /// `co_stacksize`, an `int`.
    Three([u64; 3], u64),
    /// `co_localsplusnames`, then `co_stacksize`, an `int`.
    One(u64, u64),
}

/// How a `PyDictKeysObject` is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `dk_refcnt`, `dk_size`, `dk_lookup`, `dk_usable`, `dk_nentries`, one word each; indices at 40.
    Wide,
    /// `dk_refcnt`; three bytes `dk_log2_size`, `dk_log2_index_bytes`, `dk_kind` and a version in
    /// one word; `dk_usable`, `dk_nentries`; indices at 32.
    Packed,
}

/// Where an instance of a class keeps its attributes, if its type does not say `tp_dictoffset`.
/// Managed dicts lie three words before the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// Only where `tp_dictoffset` says.
    Dict,
    /// In a dict, or in values to which the fourth word before the object points (3.11).
    ValuesBeforeDict,
    /// In a dict, or, if the lowest bit of the pointer is set, in values one byte behind it (3.12).
    ValuesOrDict,
    /// In values at the end of the object, and a dict if there is one (3.13 and later).
    Inline,
}

/// The row of a minor version.
pub fn of(minor: u8) -> Option<Structures> {
    [V3_8, V3_9, V3_10, V3_11, V3_12, V3_13, V3_14].into_iter().find(|row| row.minor == minor)
}

const V3_8: Structures = Structures {
    interpreters_head: 32,
    interpreter_next: 0,
    threads_head: 8,
    thread: 176,
    native_thread: None,
    frame_locals: 360,
    frame_globals: 48,
    locals: Locals::Three([72, 88, 80], 32),
    generator_frame: None,
    tuple_items: 24,
    type_size: 416,
    heap_type_size: 880,
    qualified_name: 864,
    keys: Keys::Wide,
    instances: Instances::Dict,
    pool_bits: 12,
    arena_bits: 18,
    minor: 8,
};

const V3_9: Structures = Structures { type_size: 408, qualified_name: 856, minor: 9, ..V3_8 };

/// The radix tree of arenas came with larger arenas and pools.
const V3_10: Structures = Structures {
    frame_locals: 352,
    heap_type_size: 888,
    qualified_name: 864,
    pool_bits: 14,
    arena_bits: 20,
    minor: 10,
    ..V3_9
};

const V3_11: Structures = Structures {
    interpreters_head: 40,
    threads_head: 16,
    thread: 152,
    native_thread: Some(160),
    frame_locals: 72,
    frame_globals: 8,
    locals: Locals::One(96, 68),
    generator_frame: Some(80),
    heap_type_size: 904,
    keys: Keys::Packed,
    instances: Instances::ValuesBeforeDict,
    minor: 11,
    ..V3_10
};

const V3_12: Structures = Structures {
    threads_head: 72,
    thread: 136,
    native_thread: Some(144),
    frame_globals: 24,
    locals: Locals::One(96, 64),
    generator_frame: Some(72),
    type_size: 416,
    heap_type_size: 920,
    qualified_name: 872,
    instances: Instances::ValuesOrDict,
    minor: 12,
    ..V3_11
};

/// Members of the runtime's and the interpreter's state come from `_Py_DebugOffsets`.
const V3_13: Structures = Structures {
    interpreters_head: 632,
    interpreter_next: 7264,
    threads_head: 7344,
    thread: 152,
    native_thread: Some(160),
    heap_type_size: 928,
    instances: Instances::Inline,
    minor: 13,
    ..V3_12
};

/// Tuples keep their hash before their items.
const V3_14: Structures = Structures {
    tuple_items: 32,
    interpreters_head: 808,
    interpreter_next: 7272,
    frame_locals: 80,
    heap_type_size: 936,
    minor: 14,
    ..V3_13
};

#[cfg(test)]
mod tests {
    use super::{super::layout, *};

    #[test]
    fn every_supported_version_has_its_rows() {
        for minor in 0..=30 {
            let supported = (8..=14).contains(&minor).then_some(minor);
            assert_eq!(of(minor).map(|row| row.minor), supported);
            assert_eq!(layout::of(minor).map(|row| row.minor), supported);
        }
    }
}
