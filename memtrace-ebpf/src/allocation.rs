//! What is kept about allocations: each live one, and the totals of each stack.

use crate::{crosses_the_boundary, frame::CHUNK_FRAMES, mark};

/// Objects are counted in units of 1/256, so that sampling can give them fractional weights.
pub const OBJECT: u64 = 256;

/// Key of a live allocation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Place {
    /// Address in the process.
    pub address: u64,
    /// Process slot.
    pub process: u32,
    /// See [`place`].
    pub kind: u32,
}
crosses_the_boundary!(Place, 16);

/// Kinds of places. The value is [`Place::kind`].
pub mod place {
    /// A block from an allocator.
    pub const BLOCK: u32 = 0;
    /// Memory that the program mapped itself, for itself.
    pub const PRIVATE_MAPPING: u32 = 1;
    /// A file or shared memory that the program mapped, or the stack of a thread.
    pub const OTHER_MAPPING: u32 = 2;
}

/// A live allocation.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Allocation {
    /// Stack that allocated it; 0 if that could not be recorded.
    pub stack: u64,
    /// Bytes asked for.
    pub size: u64,
    /// Bytes it stands for: `size` unless sampled.
    pub bytes: u64,
    /// Objects it stands for, in units of [`OBJECT`].
    pub objects: u64,
}
crosses_the_boundary!(Allocation, 32);

/// Key of a stack's totals.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct StackKey {
    /// Hash of the frames.
    pub stack: u64,
    /// Process slot.
    pub process: u32,
    /// Keeps the layout free of padding.
    pub reserved: u32,
}
crosses_the_boundary!(StackKey, 16);

/// Totals of one stack of one process. Objects are in units of [`OBJECT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Totals {
    /// Bytes allocated and not released.
    pub live_bytes: u64,
    /// Objects allocated and not released.
    pub live_objects: u64,
    /// Bytes allocated since tracing began.
    pub allocated_bytes: u64,
    /// Objects allocated since tracing began.
    pub allocated_objects: u64,
    /// Live bytes that came after the process's high-water mark; see [`mark`].
    pub bytes_behind: u64,
    /// Live objects that came after it.
    pub objects_behind: u64,
}
crosses_the_boundary!(Totals, 48);

impl Totals {
    /// Bytes and objects that were live at the process's high-water mark.
    #[must_use]
    pub const fn at_peak(&self, process_epoch: u64) -> (u64, u64) {
        let bytes = mark::behind(self.bytes_behind, process_epoch);
        let objects = mark::behind(self.objects_behind, process_epoch);
        (
            self.live_bytes.wrapping_sub(bytes.cast_unsigned()),
            self.live_objects.wrapping_sub(objects.cast_unsigned()),
        )
    }
}

/// Up to 32 frames of a stack, innermost first; 0 ends them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackChunk {
    /// Hash of the chunk with the callers; 0 for none.
    pub callers: u64,
    /// See [`crate::frame::Frame`].
    pub frames: [u64; CHUNK_FRAMES],
}
crosses_the_boundary!(StackChunk, 264);
