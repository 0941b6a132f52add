//! What is found out about the objects of a process.

use std::{fmt, time::Duration};

use memtrace_abi::mapping::Range;

use crate::python::Version;

/// How much work a reading may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time for all of it.
    pub time: Duration,
    /// Bytes read from the process, what is read again included.
    pub read_bytes: u64,
    /// Bytes of the process kept in memory at a time.
    pub kept_bytes: usize,
    /// Objects that references are followed through; each takes about 20 bytes.
    pub objects: usize,
    /// Arrays, data frames, buffers and containers that are listed, each.
    pub listed: usize,
}

impl Default for Limits {
    /// What a process of some gigabytes takes.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(5),
            read_bytes: 16 << 30,
            kept_bytes: 32 << 20,
            objects: 4_000_000,
            listed: 1000,
        }
    }
}

/// What the objects of a process are.
#[derive(Clone, Debug)]
pub struct Inventory {
    /// The interpreter's release.
    pub version: Version,
    /// What the interpreter takes small objects from.
    pub allocator: Allocator,
    /// Arenas of pymalloc, by address.
    pub arenas: Vec<Arena>,
    /// Its pools that are nearly empty.
    pub sparse_pools: SparsePools,
    /// Objects by type, most bytes first.
    pub types: Vec<TypeTotal>,
    /// The largest NumPy arrays, most bytes first.
    pub arrays: Vec<Array>,
    /// All NumPy arrays, those that are not listed included.
    pub array_count: u64,
    /// Bytes of the data that the arrays own.
    pub array_bytes: u64,
    /// The largest pandas data frames, most bytes first.
    pub data_frames: Vec<DataFrame>,
    /// The largest strings and buffers, of those from 16 KiB on; most bytes first.
    pub buffers: Vec<Buffer>,
    /// The largest containers, most bytes first.
    pub containers: Vec<Container>,
    /// How much could be looked at.
    pub coverage: Coverage,
}

/// What an interpreter takes small objects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocator {
    /// Its own, pymalloc.
    Pymalloc,
    /// pymalloc, with bytes around each block to find errors: `PYTHONMALLOC=debug` or `-X dev`.
    PymallocDebug,
    /// glibc's malloc: `PYTHONMALLOC=malloc`. Objects are found by following references only, as they
    /// are with others.
    Malloc,
    /// Another one, such as mimalloc.
    Other,
}

/// Memory that pymalloc got at once, in pools of blocks of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arena {
    /// Addresses in the process.
    pub range: Range,
    /// Whether there was time to look at all of it; else the rest says less than there is.
    pub is_read: bool,
    /// Pools of which a block is in use.
    pub used_pools: u32,
    /// Pools without, or never used; an arena is given back once all of its pools are.
    pub free_pools: u32,
    /// Blocks in use.
    pub used_blocks: u32,
    /// Bytes of the blocks in use, rounded up to pymalloc's sizes.
    pub used_bytes: u64,
    /// Types with the most bytes here, and their objects; at most three. Indices in
    /// [`Inventory::types`].
    pub types: Vec<(usize, u32)>,
}

/// Pools of pymalloc of which less than a quarter is in use: what is free in them can only serve blocks of
/// the same size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparsePools {
    /// How many there are.
    pub count: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of their blocks in use.
    pub used_bytes: u64,
    /// Objects in them by type, most first; at most three. Indices in [`Inventory::types`].
    pub types: Vec<(usize, u64)>,
}

/// Objects of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeTotal {
    /// Name with its module, without `builtins`; printable.
    pub name: String,
    /// Objects.
    pub count: u64,
    /// Bytes as `sys.getsizeof` counts them; for arrays, the data that they own included.
    pub bytes: u64,
}

/// A NumPy array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// Address of the object.
    pub address: u64,
    /// Name of the element type, `float64`; printable.
    pub dtype: String,
    /// Elements in each dimension.
    pub shape: Vec<u64>,
    /// Elements times their size (`nbytes`).
    pub bytes: u64,
    /// The addresses that the elements take up, first to last; less than `bytes` for arrays that
    /// repeat elements.
    pub data: Range,
    /// Whose the data is.
    pub owner: Owner,
    /// Who holds the array.
    pub holder: Option<Holder>,
}

/// Whose data an array shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Its own.
    Itself,
    /// That of another object.
    Base {
        /// Address of the object.
        address: u64,
        /// Name of its type.
        type_name: String,
    },
    /// Memory that no Python object stands for.
    Unknown,
}

/// A pandas `DataFrame`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFrame {
    /// Address of the object.
    pub address: u64,
    /// Rows.
    pub rows: u64,
    /// Columns.
    pub columns: u64,
    /// Bytes of the NumPy arrays and of Arrow's buffers that hold its columns; what Python objects in
    /// columns take is not in it.
    pub bytes: u64,
    /// Columns by element type, most bytes first: name, columns, bytes.
    pub dtypes: Vec<(String, u64, u64)>,
    /// Who holds the frame.
    pub holder: Option<Holder>,
}

/// A `str`, `bytes`, `bytearray`, `array.array`, `io.StringIO`, `mmap.mmap`, or what `ctypes` makes: data
/// that Python does not look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Address of the object.
    pub address: u64,
    /// Name of its type.
    pub type_name: String,
    /// Its bytes, data included, also where `sys.getsizeof` leaves that out.
    pub bytes: u64,
    /// Addresses of the data.
    pub data: Range,
    /// Who holds it.
    pub holder: Option<Holder>,
}

/// A list, dict, set, deque or another object that holds many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Address of the object.
    pub address: u64,
    /// Name of its type.
    pub type_name: String,
    /// Objects in it; entries of a dict.
    pub length: u64,
    /// Its own bytes, without those of what is in it.
    pub bytes: u64,
    /// Who holds it.
    pub holder: Option<Holder>,
}

/// How an object is reached: where from, and on which path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Where the path starts.
    pub root: Root,
    /// What one would write to get it, as far as that can be written: `cache['a'][3].data`. A step
    /// without a name is the type in round brackets. Printable.
    pub path: String,
}

/// Where a path of references starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// A local variable.
    Local {
        /// The function's qualified name (3.11 and later) or name; printable.
        function: String,
        /// Its file; printable.
        file: String,
        /// The thread id, as the kernel counts; 0 if it is unknown.
        thread: u32,
    },
    /// A variable of a module that is in no list of a thread's.
    Module,
    /// An object that the collector knows, but neither a module nor a local variable leads to.
    Object,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Local { function, file, thread: 0 } => {
                write!(f, "{} in {function} ({file})", self.path)
            }
            Root::Local { function, file, thread } => {
                write!(f, "{} in {function} ({file}), thread {thread}", self.path)
            }
            Root::Module => write!(f, "{}", self.path),
            Root::Object => write!(f, "{} that no variable leads to", self.path),
        }
    }
}

/// How much of a process could be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Objects that were counted.
    pub objects: u64,
    /// References to what is no object or cannot be read, though they were still there at a second
    /// look; objects that contradict themselves; and lists of the collector that could not be
    /// followed to their ends.
    pub failed_objects: u64,
    /// References that had changed before what they led to could be looked at.
    pub changed_references: u64,
    /// Objects that the collector tracks.
    pub tracked: u64,
    /// Pools of pymalloc that were read.
    pub pools: u64,
    /// Pools that could not be read or contradicted themselves.
    pub failed_pools: u64,
    /// Blocks of pymalloc in use.
    pub blocks: u64,
    /// Blocks in use that hold no object: parts of objects, buffers.
    pub other_blocks: u64,
    /// Bytes of these.
    pub other_bytes: u64,
    /// Whether references were followed to the end.
    pub is_followed: bool,
    /// Which limit ended the reading.
    pub spent: Option<Spent>,
    /// Bytes read from the process.
    pub read_bytes: u64,
}

impl Coverage {
    /// Whether no limit was in the way: then nothing large is missing.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_followed && self.spent.is_none()
    }

    /// Adds another one's counts.
    pub(super) const fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.failed_objects += other.failed_objects;
        self.changed_references += other.changed_references;
        self.tracked += other.tracked;
        self.pools += other.pools;
        self.failed_pools += other.failed_pools;
        self.blocks += other.blocks;
        self.other_blocks += other.other_blocks;
        self.other_bytes += other.other_bytes;
        self.read_bytes += other.read_bytes;
    }
}

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// [`Limits::time`].
    Time,
    /// [`Limits::read_bytes`].
    Bytes,
    /// [`Limits::objects`].
    Objects,
}
