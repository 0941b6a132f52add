//! A traced process: what the loader says about it, and what the kernel counts.

use crate::{crosses_the_boundary, mark, python::Python};

/// Process slots. A process that executes another program takes a new one.
pub const MAX_PROCESSES: u32 = 4096;

/// Life of a process slot. The value is [`Process::state`].
pub mod state {
    /// Not in use, or its process is gone: probes do nothing.
    pub const IDLE: u32 = 0;
    /// Probes record.
    pub const TRACED: u32 = 1;
    /// There are no probes; mappings and what happens to pages are recorded all the same.
    pub const PAGES: u32 = 2;
    /// The probes are off, and live memory stays as it was then; only what happens to pages is
    /// still recorded.
    pub const SHED: u32 = 3;
    /// Its process is being killed: probes do nothing, and what was recorded stays until the
    /// loader has written it down.
    pub const FROZEN: u32 = 4;
}

/// What the loader says about a process. The kernel turns `state` to idle, once, to end it, and fills
/// in the slots of children that it follows.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Process {
    /// See [`state`].
    pub state: u32,
    /// 1: pause the process whenever its code changes, until the loader has caught up. Only for
    /// commands that memtrace itself started.
    pub paused_on_change: u32,
    /// Process id, in the initial namespace, of the process whose memory this is. A child of `vfork`
    /// uses it under an id of its own.
    pub owner: u32,
    /// 1: its children are followed.
    pub followed: u32,
    /// See [`crate::mapping::Run::pack`].
    pub mappings: u64,
    /// How often the process had given up code when its mappings were read. What it gave up since is
    /// not there any more, whatever the mappings say. Written after them.
    pub code_given_up: u64,
    /// The interpreter, or all zero.
    pub python: Python,
}
crosses_the_boundary!(Process, 168);

/// What the kernel counts for a process. Objects are in units of [`crate::allocation::OBJECT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ProcessTotals {
    /// The latest high-water mark; see [`mark`].
    pub mark: u64,
    /// Live objects that came after it; see [`mark::note`].
    pub objects_behind: u64,
    /// Bytes allocated and not released.
    pub live_bytes: u64,
    /// Objects allocated and not released.
    pub live_objects: u64,
    /// Boot time of the latest high-water mark, nanoseconds.
    pub peak_time: u64,
    /// Bytes allocated since tracing began.
    pub allocated_bytes: u64,
    /// Objects allocated since tracing began.
    pub allocated_objects: u64,
    /// Calls that returned memory.
    pub allocations: u64,
    /// Releases of memory that was recorded.
    pub releases: u64,
    /// Releases of memory that was not recorded: from before tracing began, or unsampled.
    pub unknown_releases: u64,
    /// Calls that returned no memory.
    pub failures: u64,
    /// Calls that an allocator made to itself.
    pub nested_calls: u64,
    /// Times that an allocating function was entered.
    pub calls: u64,
    /// Times that a releasing function was entered.
    pub release_calls: u64,
    /// Bytes that its parent had allocated when it was forked; 0 for others.
    pub inherited_bytes: u64,
    /// Objects that its parent had allocated then.
    pub inherited_objects: u64,
}
crosses_the_boundary!(ProcessTotals, 128);

impl ProcessTotals {
    /// The most live bytes that there have been, and the live objects at that moment.
    #[must_use]
    pub const fn peak(&self) -> (u64, u64) {
        let objects = mark::behind(self.objects_behind, self.epoch());
        (
            self.live_bytes.wrapping_add(mark::below(self.mark)),
            self.live_objects.wrapping_sub(objects.cast_unsigned()),
        )
    }

    /// The number of the latest high-water mark.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        mark::epoch(self.mark)
    }
}
