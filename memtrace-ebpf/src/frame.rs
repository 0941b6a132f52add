//! Frames as the kernel records them: one `u64` each, innermost first.
//!
//! | bits 63..62 | meaning | rest |
//! |---|---|---|
//! | 0 | native | bit 61: interpreter loop; 40..=60 object id; 0..=39 address in the object |
//! | 1 | Python | 32..=61 code id; 0..=31 byte offset of the instruction, `i32` |
//! | 2 | unmapped native address | 0..=61 address in the process |
//! | 3 | the stack is incomplete here | 0..=31 a [`Gap`] |

use crate::unwind::Stop;

/// Frames of one stack; what lies deeper is cut and flagged.
pub const MAX_FRAMES: u32 = 512;
/// Frames are stored in chunks of this many, so that short stacks are cheap.
pub const CHUNK_FRAMES: usize = 32;

const KIND_SHIFT: u32 = 62;
const EVALUATOR: u64 = 1 << 61;
const OBJECT_SHIFT: u32 = 40;
const OBJECT_MASK: u64 = (1 << 21) - 1;
const ADDRESS_MASK: u64 = (1 << OBJECT_SHIFT) - 1;
const CODE_MASK: u64 = (1 << 30) - 1;
const UNMAPPED_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// Why frames are missing at a place in a stack.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gap {
    /// More than [`MAX_FRAMES`] frames.
    TooDeep = 0,
    /// No unwind information for the address.
    NoRow = 1,
    /// Unwind information that needs untracked registers.
    Unsupported = 2,
    /// Stack memory that could not be read.
    Unreadable = 3,
    /// The unwind information leads nowhere.
    NoProgress = 4,
    /// A Python frame that could not be read.
    Python = 5,
    /// Code that belongs to no known object: JIT code, or a library mapped a moment ago.
    Unmapped = 6,
}

impl Gap {
    /// Every reason, in numeric order.
    pub const ALL: [Self; 7] = [
        Self::TooDeep,
        Self::NoRow,
        Self::Unsupported,
        Self::Unreadable,
        Self::NoProgress,
        Self::Python,
        Self::Unmapped,
    ];

    /// Why, in words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::TooDeep => "the stack is deeper than 512 frames",
            Self::NoRow => "no unwind information",
            Self::Unsupported => "unwind information of an unsupported kind",
            Self::Unreadable => "stack memory could not be read",
            Self::NoProgress => "unwind information leads nowhere",
            Self::Python => "a Python frame could not be read",
            Self::Unmapped => "code outside every known file",
        }
    }
}

impl From<Stop> for Gap {
    /// The end of a stack is no gap; what leads there without one is code without information.
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::End | Stop::NoRow => Self::NoRow,
            Stop::Unsupported => Self::Unsupported,
            Stop::Unreadable => Self::Unreadable,
            Stop::NoProgress => Self::NoProgress,
        }
    }
}

/// A recorded frame, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Native code. For a return address, `address` is that of the call's last byte.
    Native {
        /// Which file, as numbered by the loader.
        object: u32,
        /// Virtual address within the object, as in its symbol table.
        address: u64,
        /// Whether this is the interpreter loop that ran the Python frames before it.
        evaluator: bool,
    },
    /// A Python function.
    Python {
        /// Which code object, as numbered by the kernel.
        code: u32,
        /// Bytes from the first instruction; negative before the first one ran.
        instruction: i32,
    },
    /// Native code outside every known object.
    Unmapped {
        /// Address in the process.
        address: u64,
    },
    /// Frames are missing here.
    Incomplete(u32),
}

impl Frame {
    /// The recorded form.
    #[must_use]
    pub const fn pack(self) -> u64 {
        match self {
            Self::Native { object, address, evaluator } => {
                let flag = if evaluator { EVALUATOR } else { 0 };
                flag | ((object as u64 & OBJECT_MASK) << OBJECT_SHIFT) | (address & ADDRESS_MASK)
            }
            Self::Python { code, instruction } => {
                (1 << KIND_SHIFT)
                    | ((code as u64 & CODE_MASK) << 32)
                    | instruction.cast_unsigned() as u64
            }
            Self::Unmapped { address } => (2 << KIND_SHIFT) | (address & UNMAPPED_MASK),
            Self::Incomplete(gap) => (3 << KIND_SHIFT) | gap as u64,
        }
    }

    /// The frame that was recorded as `packed`.
    #[must_use]
    pub const fn unpack(packed: u64) -> Self {
        match packed >> KIND_SHIFT {
            0 => Self::Native {
                object: (packed >> OBJECT_SHIFT & OBJECT_MASK) as u32,
                address: packed & ADDRESS_MASK,
                evaluator: packed & EVALUATOR != 0,
            },
            1 => Self::Python {
                code: (packed >> 32 & CODE_MASK) as u32,
                instruction: (packed as u32).cast_signed(),
            },
            2 => Self::Unmapped { address: packed & UNMAPPED_MASK },
            _ => Self::Incomplete(packed as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let frames = [
            Frame::Native { object: 0x1f_ffff, address: 0xff_ffff_ffff, evaluator: false },
            Frame::Native { object: 7, address: 0x1234, evaluator: true },
            Frame::Python { code: 0x3fff_ffff, instruction: -1 },
            Frame::Python { code: 3, instruction: 1 << 20 },
            Frame::Unmapped { address: 0x7fff_ffff_f000 },
            Frame::Incomplete(Gap::NoRow as u32),
        ];
        for frame in frames {
            assert_eq!(Frame::unpack(frame.pack()), frame);
        }
    }
}
