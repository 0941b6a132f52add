//! What is kept about allocations: each live one, and the totals of each stack.

use crate::{crosses_the_boundary, frame::CHUNK_FRAMES};

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
    /// Keeps the layout free of padding.
    pub reserved: u32,
}
crosses_the_boundary!(Place, 16);

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
///
/// `peak_*` hold what was live at the process's high-water mark number `epoch`; if the process
/// has a later epoch, nothing has changed since and `live_*` hold it.
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
    /// The high-water mark that `peak_*` belong to.
    pub epoch: u64,
    /// Bytes live at that mark.
    pub peak_bytes: u64,
    /// Objects live at that mark.
    pub peak_objects: u64,
}
crosses_the_boundary!(Totals, 56);

impl Totals {
    /// Live bytes and objects at the process's high-water mark.
    #[must_use]
    pub const fn at_peak(&self, process_epoch: u64) -> (u64, u64) {
        if self.epoch == process_epoch {
            (self.peak_bytes, self.peak_objects)
        } else {
            (self.live_bytes, self.live_objects)
        }
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
