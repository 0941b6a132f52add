//! What the kernel sends to the loader through the ring buffer.

use crate::crosses_the_boundary;

/// Kinds of events: the first word of each.
pub mod kind {
    /// A [`super::Code`] with its line table behind it.
    pub const CODE: u32 = 1;
    /// A [`super::Change`]: the process has executed another program.
    pub const EXEC: u32 = 2;
    /// A [`super::Change`]: the process has ended.
    pub const EXIT: u32 = 3;
    /// A [`super::Change`]: the process has loaded or unloaded libraries.
    pub const LIBRARIES: u32 = 4;
    /// A [`super::Change`]: a stack led to code that no known object covers.
    pub const UNMAPPED: u32 = 5;
    /// A [`super::Change`]: a process has forked; the event is about the child.
    pub const FORK: u32 = 6;
    /// A [`super::Change`]: a child that shared its parent's memory has executed a program.
    pub const SPAWN: u32 = 7;
    /// A [`super::Change`]: the process touches more new pages than may be recorded one by one.
    pub const FAULTS: u32 = 8;
    /// A [`super::Change`]: a process that is not traced has executed a program.
    pub const PROGRAM: u32 = 9;
}

/// Something happened to a traced process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Change {
    /// See [`kind`].
    pub kind: u32,
    /// Process slot.
    pub process: u32,
    /// Process id in the initial namespace.
    pub pid: u32,
    /// 1: the process is being paused for the loader.
    pub paused: u32,
    /// The address, for [`kind::UNMAPPED`]; which change this is, for [`kind::LIBRARIES`]; the new slot
    /// or [`NO_SLOT`], for [`kind::EXEC`]; the parent's slot, for [`kind::FORK`] and [`kind::SPAWN`].
    pub address: u64,
}
crosses_the_boundary!(Change, 24);

/// Stands for a slot where there is none.
pub const NO_SLOT: u64 = u64::MAX;

/// One more than the bytes of a function name that are kept.
pub const MAX_NAME: usize = 256;
/// One more than the bytes of a file name that are kept.
pub const MAX_FILENAME: usize = 512;
/// Line tables of fewer bytes fit a small event.
pub const SMALL_LINES: usize = 1 << 10;
/// Line tables of fewer bytes fit a large event.
pub const LARGE_LINES: usize = 32 << 10;
/// Line tables of fewer bytes fit a huge event; longer ones are cut to one byte less. Generated
/// functions of some 50,000 lines reach this.
pub const HUGE_LINES: usize = 512 << 10;

/// A Python code object on first sight. Behind it follow `lines_size` bytes of line table, cut to fit.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// [`kind::CODE`].
    pub kind: u32,
    /// Process slot.
    pub process: u32,
    /// Number of the code object, as in frames.
    pub code: u32,
    /// `co_firstlineno`.
    pub first_line: i32,
    /// Characters in the name, which may be more than are kept.
    pub name_length: u32,
    /// Bytes per character of the name: 1, 2 or 4 (1 is Latin-1); 0 if it could not be read.
    pub name_width: u32,
    /// Characters in the file name.
    pub filename_length: u32,
    /// Bytes per character of the file name.
    pub filename_width: u32,
    /// Bytes in the line table, which may be more than are kept; `u32::MAX` if it could not be read.
    pub lines_size: u32,
    /// Minor version of the interpreter: 11 for 3.11.
    pub minor: u32,
    /// The name's characters.
    pub name: [u8; MAX_NAME],
    /// The file name's characters.
    pub filename: [u8; MAX_FILENAME],
}
crosses_the_boundary!(Code, 808);
