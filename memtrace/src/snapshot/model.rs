//! What a snapshot tells. Sizes are bytes; names are the target's own and hostile.

use std::time::Duration;

use crate::{
    heap::{Account, Advice, Doubt, Strip},
    inventory::{Array, Buffer, Inventory},
    process::threads,
    profile::{Decomposition, Frame, Segment},
};

/// A process at one moment, or as nearly as can be.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// How it was taken.
    pub session: Session,
    /// The process.
    pub subject: Subject,
    /// Its threads, the main thread first.
    pub threads: Part<Vec<Thread>>,
    /// Its resident memory by use.
    pub memory: Part<Decomposition>,
    /// What the heap's part of that is used for: it adds up to it. Empty if that is not known.
    pub uses: Vec<Usage>,
    /// The heap of its C library.
    pub glibc: Part<Glibc>,
    /// Files besides the C library that bring a `malloc` of their own.
    pub other_allocators: Vec<String>,
    /// Its Python objects.
    pub objects: Part<PythonObjects>,
    /// Shared memory that it has mapped, most resident first.
    pub shared: Part<Vec<Segment>>,
    /// What the look did to the process.
    pub cost: Cost,
    /// Whether the process ended meanwhile: what is here was read before.
    pub ended: bool,
    /// What else the reader must know, one sentence each.
    pub notes: Vec<String>,
}

impl Snapshot {
    /// Takes note that the process has ended: that is why the rest is missing.
    pub(super) fn end(&mut self) {
        self.ended = true;
        let reason = "the process had ended";
        self.shared.excuse(reason);
        self.memory.excuse(reason);
        self.glibc.excuse(reason);
        self.objects.excuse(reason);
        self.threads.excuse(reason);
        if let Part::Read(threads) = &mut self.threads {
            for thread in threads {
                thread.stack.excuse(reason);
            }
        }
    }

    /// Whether anything is known of it that only the process itself could tell.
    pub(super) fn has_data(&self) -> bool {
        let threads = self.threads.read();
        let has_stack = threads
            .is_some_and(|threads| threads.iter().any(|thread| thread.stack.read().is_some()));
        has_stack
            || [self.memory.read().is_some(), self.glibc.read().is_some()].contains(&true)
            || self.objects.read().is_some()
    }
}

/// A part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<T> {
    /// What was read.
    Read(T),
    /// Why it is missing.
    Missing(String),
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self::Missing("not asked for".to_owned())
    }
}

impl<T> Part<T> {
    /// What was read.
    pub const fn read(&self) -> Option<&T> {
        match self {
            Self::Read(part) => Some(part),
            Self::Missing(_) => None,
        }
    }

    /// Why it is missing.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Read(_) => None,
            Self::Missing(reason) => Some(reason),
        }
    }

    /// Gives a better reason, if it is missing.
    fn excuse(&mut self, why: &str) {
        if let Self::Missing(reason) = self {
            why.clone_into(reason);
        }
    }
}

impl<T> From<anyhow::Result<T>> for Part<T> {
    fn from(result: anyhow::Result<T>) -> Self {
        match result {
            Ok(part) => Self::Read(part),
            Err(error) => Self::Missing(format!("{error:#}")),
        }
    }
}

/// How a snapshot was taken.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// Version of memtrace.
    pub version: String,
    /// When, in seconds since 1970.
    pub taken: u64,
    /// How long it took.
    pub duration: Duration,
    /// How memtrace was called.
    pub command_line: String,
    /// Name of the machine.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
}

/// The process that a snapshot is about.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// Process id.
    pub pid: u32,
    /// Name of its main thread.
    pub comm: String,
    /// Its arguments.
    pub command_line: String,
    /// Version of its interpreter.
    pub python: Option<String>,
    /// State letter of its main thread.
    pub state: char,
    /// CPU time that it has used.
    pub cpu_time: Duration,
    /// `VmRSS`.
    pub resident: u64,
    /// `VmHWM`.
    pub peak_resident: u64,
    /// `VmSwap`.
    pub swapped: u64,
}

/// A thread, what it is doing, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// What the kernel's list of threads says of it.
    pub task: threads::Thread,
    /// The kernel function in which it waits.
    pub wait_channel: Option<String>,
    /// The system call that it is in.
    pub system_call: Option<String>,
    /// Whether it has a Python thread state.
    pub is_python: bool,
    /// Whether it holds the global interpreter lock; `None` if that cannot be told.
    pub holds_lock: Option<bool>,
    /// Its frames.
    pub stack: Part<Stack>,
}

/// The frames of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Outermost first.
    pub frames: Vec<Frame>,
    /// Whether they are of one moment.
    pub moment: Moment,
}

/// Whether the frames of a stack are of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// They are: the thread waited while they were read.
    Waiting,
    /// They are: the kernel copied them while the thread ran.
    Running,
    /// The thread ran while they were read.
    Moving,
    /// They are, but only the stack pointer and the program counter were known to start from.
    Partial,
}

impl Moment {
    /// The name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Moving => "moving",
            Self::Partial => "partial",
        }
    }
}

/// What resident memory of the heap is used for, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What for.
    pub what: Use,
    /// Bytes.
    pub bytes: u64,
}

/// What resident memory of the heap is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Small Python objects: blocks of pymalloc in use.
    PythonBlocks,
    /// The rest of pymalloc's arenas.
    PythonFree,
    /// Arenas that there was no time to look at.
    PythonUnread,
    /// Chunks of glibc's malloc in use, and what it needs itself.
    Live,
    /// Free chunks that `malloc_trim(0)` would return.
    Trimmable,
    /// Free chunks on pages that also hold something in use.
    Pinned,
    /// Free pages that `malloc_trim(0)` would not return.
    Kept,
    /// Memory of glibc's malloc that was not read or understood, at most so much.
    Unread,
    /// Mapped by the program itself or by another allocator, if glibc's malloc was read.
    Rest,
}

impl Use {
    /// The name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PythonBlocks => "python_blocks",
            Self::PythonFree => "python_free",
            Self::PythonUnread => "python_unread",
            Self::Live => "live",
            Self::Trimmable => "trimmable",
            Self::Pinned => "pinned",
            Self::Kept => "kept",
            Self::Unread => "unread",
            Self::Rest => "rest",
        }
    }
}

/// The heap of glibc's malloc.
#[derive(Clone, Debug)]
pub struct Glibc {
    /// Release of glibc.
    pub version: String,
    /// Arenas, the main one first.
    pub arenas: Vec<GlibcArena>,
    /// Chunks with mappings of their own.
    pub mapped: Account,
    /// All of it.
    pub total: Account,
    /// What could be done about free memory.
    pub advice: Vec<Advice>,
    /// What may be wrong or missing.
    pub doubts: Vec<Doubt>,
}

/// An arena of glibc's malloc.
#[derive(Clone, Debug)]
pub struct GlibcArena {
    /// Address of its `struct malloc_state`.
    pub address: u64,
    /// Whether it is the one that grows by `brk`.
    pub is_main: bool,
    /// Where its memory is.
    pub account: Account,
    /// The same along its addresses.
    pub strip: Strip,
}

impl GlibcArena {
    /// What it is called, by its place among them.
    #[must_use]
    pub fn name(&self, number: usize) -> String {
        if self.is_main { "main arena".to_owned() } else { format!("thread arena {number}") }
    }
}

/// The Python objects of a process.
#[derive(Clone, Debug)]
pub struct PythonObjects {
    /// What was found.
    pub inventory: Inventory,
    /// Its arrays, in the same order, with what is resident of each.
    pub arrays: Vec<InMemory<Array>>,
    /// Its strings and buffers, likewise.
    pub buffers: Vec<InMemory<Buffer>>,
    /// Bytes of each of pymalloc's arenas that are in memory, in the order of the inventory; `None`
    /// if not all could be looked at.
    pub arena_bytes: Option<Vec<u64>>,
}

/// An object with data, and its resident part.
#[derive(Clone, Debug)]
pub struct InMemory<T> {
    /// The object.
    pub object: T,
    /// Bytes of its data that are in memory; `None` if that could not be looked at.
    pub resident: Option<u64>,
}

/// What the look did to the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Threads that ran and were interrupted by a clock.
    pub interruptions: u32,
    /// How long they were, all together.
    pub interrupted: Duration,
    /// `VmRSS` before and after; `None` if it could not be read.
    pub resident: Option<(u64, u64)>,
}
