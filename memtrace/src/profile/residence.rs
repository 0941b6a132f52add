//! Whose the resident memory of a process is, and how that is known.

use serde::{Deserialize, Serialize};

/// Resident bytes of a process, by how it is known whose they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residence {
    /// Of pages that a stack was seen to touch first.
    pub touched: u64,
    /// Of pages that nobody was seen to touch, and that count for the live block on them.
    pub held: u64,
    /// Of pages that count for the nearest one that was seen to be touched.
    pub nearest: u64,
    /// Of pages that count for the stack that mapped them.
    pub mapped: u64,
    /// Of pages that were in memory before tracing began.
    pub before: u64,
    /// Of pages of which nothing is known.
    pub unknown: u64,
    /// Whether the pages were looked for in memory; else the process had ended, and it is an estimate
    /// of what was resident in its last two seconds.
    pub is_measured: bool,
}

impl Residence {
    /// All of it.
    #[must_use]
    pub fn sum(&self) -> u64 {
        let Self { touched, held, nearest, mapped, before, unknown, .. } = *self;
        [touched, held, nearest, mapped, before, unknown].into_iter().fold(0, u64::saturating_add)
    }
}

/// What kind of memory a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PageKind {
    /// What `brk` moves.
    Heap,
    /// Memory without a file.
    Mapped,
    /// Stack of the main thread.
    Stack,
    /// Of a file.
    File,
    /// A private copy of a page of a file.
    Data,
    /// Memory for several processes.
    Shared,
    /// On hugetlbfs.
    Huge,
    /// Memory without a file, of a process that has ended: more is not known.
    Anonymous,
    /// Of a file or shared, of a process that has ended.
    Backed,
}

impl PageKind {
    /// What it is called in stacks.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heap => "heap",
            Self::Mapped => "mmap",
            Self::Stack => "stack",
            Self::File => "file",
            Self::Data => "private pages of files",
            Self::Shared => "shared memory",
            Self::Huge => "huge pages",
            Self::Anonymous => "anonymous memory",
            Self::Backed => "files and shared memory",
        }
    }
}
