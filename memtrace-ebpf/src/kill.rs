//! A process that is being killed, as the kernel programs see it.

use crate::crosses_the_boundary;

/// Who kills. The value is [`Kill::cause`].
pub mod cause {
    /// The kernel's OOM killer.
    pub const OUT_OF_MEMORY: u32 = 1;
    /// A process, by `SIGKILL`.
    pub const SIGNAL: u32 = 2;
}

/// [`Kill::slot`] of a process that is not traced.
pub const NO_SLOT: u32 = u32::MAX;

/// Bytes of a thread's name, with the zero that ends it.
pub const COMM: usize = 16;

/// A kill.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// See [`cause`].
    pub cause: u32,
    /// Process id of the victim in the initial namespace.
    pub pid: u32,
    /// Its process slot, or [`NO_SLOT`].
    pub slot: u32,
    /// Process that was running: the sender of the signal, or whoever wanted the memory.
    pub by: u32,
    /// Time since boot, nanoseconds.
    pub at: u64,
    /// What the kernel counted for the victim.
    pub memory: Memory,
    /// 1: `memory` and `comm` are filled in.
    pub is_known: u32,
    /// What made the victim more or less likely.
    pub oom_score_adj: i32,
    /// Name of the victim's thread.
    pub comm: [u8; COMM],
    /// Name of the running thread.
    pub by_comm: [u8; COMM],
}
crosses_the_boundary!(Kill, 104);

/// What the kernel counts for a process, in pages unless it says otherwise.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Memory {
    /// Address space.
    pub total: u64,
    /// `MM_FILEPAGES`.
    pub file: u64,
    /// `MM_ANONPAGES`.
    pub anonymous: u64,
    /// `MM_SHMEMPAGES`.
    pub shared: u64,
    /// Page tables, in bytes.
    pub page_tables: u64,
}

/// Where the running kernel's structures have what is told of a victim, in bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct VictimFields {
    /// In a thread: its process id.
    pub process: u64,
    /// In a thread: its name.
    pub comm: u64,
    /// In a thread: its address space.
    pub memory: u64,
    /// In a thread: what it shares with the others of its process.
    pub signal: u64,
    /// In that: the address space, once the OOM killer has chosen it.
    pub oom_memory: u64,
    /// In that: `oom_score_adj`.
    pub oom_score_adj: u64,
    /// In an address space: pages in all.
    pub total: u64,
    /// In an address space: page tables.
    pub page_tables: u64,
    /// In an address space: the first counter of resident pages.
    pub counters: u64,
    /// From one counter to the next.
    pub counter_size: u64,
}
crosses_the_boundary!(VictimFields, 80);
