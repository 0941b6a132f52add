//! What a process does to its memory, as the kernel programs tell it: pages that are touched for
//! the first time, and ranges of addresses that are mapped and given back. The order is that in
//! which it happened.

use crate::crosses_the_boundary;

/// Kinds of events. The value is [`Event::kind`].
pub mod kind {
    /// A page that was not there was touched: `start` is the address. `detail` is how many such
    /// touches this one stands for.
    pub const TOUCHED: u32 = 1;
    /// A range was mapped, also over what was there before. `detail` is what for: [`super::mapped`].
    pub const MAPPED: u32 = 2;
    /// A range was unmapped.
    pub const UNMAPPED: u32 = 3;
    /// The pages of a range are somewhere else now: they begin at `detail`.
    pub const MOVED: u32 = 4;
    /// The pages of a range were given back; the addresses stay.
    pub const DISCARDED: u32 = 5;
    /// The kernel may take the pages of a range when it likes.
    pub const OFFERED: u32 = 6;
    /// System V shared memory was attached at `start`; how large it is only the kernel knows.
    pub const ATTACHED: u32 = 7;
    /// System V shared memory at `start` was detached.
    pub const DETACHED: u32 = 8;
}

/// What is known of a range that was mapped; bits.
pub mod mapped {
    /// It has no file, and nobody else has it.
    pub const ANONYMOUS: u64 = 1;
    /// It is there to be filled: neither reserved, nor a library, nor the stack of a thread.
    pub const FILLED: u64 = 2;
}

/// Something happened to the memory of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Event {
    /// See [`kind`].
    pub kind: u32,
    /// Process slot.
    pub process: u32,
    /// First address.
    pub start: u64,
    /// Bytes, whole pages.
    pub size: u64,
    /// The stack that did it; 0 if it was not recorded.
    pub stack: u64,
    /// See [`kind`].
    pub detail: u64,
}
crosses_the_boundary!(Event, 40);

/// Faults that may be recorded one by one before there are too many: some milliseconds of work.
pub const BURST: u64 = 512;

/// The page faults of a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Faults {
    /// How many more may be recorded; the loader keeps filling it up.
    pub allowed: u64,
    /// Recorded.
    pub recorded: u64,
    /// Seen, but not recorded, because no more were allowed.
    pub skipped: u64,
}
crosses_the_boundary!(Faults, 24);
