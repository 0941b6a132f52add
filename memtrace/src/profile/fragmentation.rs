//! The heap of a process when tracing ended: where its memory was, arena by arena. Bytes.

use serde::{Deserialize, Serialize};

/// The heap of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heap {
    /// Its arenas, the main one first; large blocks with mappings of their own come last.
    pub arenas: Vec<Arena>,
    /// What could be done about free memory, and what is doubtful; one sentence or two each.
    pub remarks: Vec<String>,
}

/// A part of a heap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    /// What it is called.
    pub name: String,
    /// Address ranges that it covers.
    pub size: u64,
    /// The part of them that is in memory.
    pub resident: u64,
    /// Blocks that the program uses, with their headers.
    pub live: u64,
    /// Number of those blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Resident free bytes on pages that also hold something in use.
    pub pinned: u64,
    /// Resident free bytes that `malloc_trim(0)` would return.
    pub trimmable: u64,
    /// Resident free bytes on free pages that `malloc_trim(0)` would leave.
    pub kept: u64,
}
