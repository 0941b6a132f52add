//! Where CPython keeps what a stack trace needs. The loader fills this in; the kernel only adds.

use crate::{crosses_the_boundary, mapping::Range};

/// How a frame stores the instruction it is at.
pub mod instruction {
    /// `int` byte offset (up to 3.9).
    pub const BYTES: u8 = 0;
    /// `int` index of 2-byte units (3.10).
    pub const UNITS: u8 = 1;
    /// Pointer into the code object (3.11 and later).
    pub const POINTER: u8 = 2;
}

/// Which interpreter frames one native run of the evaluator covers.
pub mod boundary {
    /// Exactly one (up to 3.10).
    pub const ONE: u8 = 0;
    /// Up to and including the one whose `is_entry` byte is set (3.11).
    pub const ENTRY: u8 = 1;
    /// Up to, but not including, the one whose `owner` byte is 3 or more (3.12 and later).
    pub const OWNER: u8 = 2;
}

/// From here on frames are not executing Python code: 3.12 `pycore_frame.h`, `enum _frameowner`.
const FIRST_INTERNAL_OWNER: u8 = 3;

/// From `ceval.gil.last_holder` to `gilstate.tstate_current`, both in `_PyRuntime`: 3.8 to 3.11.
pub const LAST_HOLDER_TO_CURRENT: u64 = 208;

/// Ranges of native code that make up the interpreter loop.
pub const MAX_EVALUATORS: usize = 4;

/// Layout of one interpreter in one process. Offsets are in bytes. All zero: not Python.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Python {
    /// Address in the process of `_PyRuntime.autoTSSkey`: `{ int initialized; int key; }`.
    pub thread_key: u64,
    /// Address in the process of `_PyRuntime.gilstate.tstate_current`, the thread state that holds
    /// the interpreter lock, which may be a sub-interpreter's; 0 from 3.12 on, where the key follows.
    pub current_thread: u64,
    /// Address in the process of `PyCode_Type`.
    pub code_type: u64,
    /// Addresses in the process of the interpreter loop; unused ranges are empty.
    pub evaluators: [Range; MAX_EVALUATORS],
    /// Mask that turns a stack reference into a pointer (3.14 tags them); all ones otherwise.
    pub pointer_mask: u64,
    /// From the thread pointer to the thread-specific block of keys below 32; entries of
    /// `{ sequence, value }`, 16 bytes.
    pub specific_first: u16,
    /// From the thread pointer to the array of pointers to blocks of 32 keys each.
    pub specific_blocks: u16,
    /// In the thread state: the `pthread_t`, which is the thread pointer.
    pub thread_identity: u16,
    /// In the thread state: the current frame, or the `cframe` that holds it.
    pub thread_frame: u16,
    /// In the `cframe`: the current frame; `u16::MAX` when the thread state holds it itself.
    pub cframe_frame: u16,
    /// In the frame: its code object.
    pub frame_code: u16,
    /// In the frame: the frame that called it.
    pub frame_previous: u16,
    /// In the frame: the instruction; see [`instruction`].
    pub frame_instruction: u16,
    /// In the frame: the byte that [`boundary`] looks at.
    pub frame_owner: u16,
    /// In the code object: the first instruction, when frames point at instructions.
    pub code_instructions: u16,
    /// In the code object: `co_firstlineno`, an `int`.
    pub code_first_line: u16,
    /// In the code object: pointer to the file name.
    pub code_filename: u16,
    /// In the code object: pointer to the qualified name (3.11 and later) or the name.
    pub code_name: u16,
    /// In the code object: pointer to the line table, a `bytes`.
    pub code_lines: u16,
    /// In the code object: `co_version`, 32 bits that no other code object of the interpreter has,
    /// unless they are 0 (3.12 and later); else 0.
    pub code_version: u16,
    /// In a `str`: first character of an ASCII string.
    pub string_ascii: u16,
    /// In a `str`: first character of any other compact string.
    pub string_compact: u16,
    /// In a `str`'s 32-bit state: lowest bit of `kind`; `compact` and `ascii` are the next two
    /// fields, 3 and 4 bits above.
    pub string_kind_shift: u8,
    /// See [`instruction`].
    pub instruction: u8,
    /// See [`boundary`].
    pub boundary: u8,
    /// Minor version: 11 for 3.11.
    pub minor: u8,
    /// Keeps the layout free of padding.
    pub reserved: [u8; 2],
}
crosses_the_boundary!(Python, 136);

impl Python {
    /// Whether the address lies in the interpreter loop.
    #[must_use]
    pub fn is_evaluator(&self, address: u64) -> bool {
        self.evaluators.iter().any(|range| range.contains(address))
    }

    /// Whether a frame with this `frame_owner` byte stands for a call from native code rather than
    /// for a function.
    #[must_use]
    pub const fn is_internal(&self, mark: u8) -> bool {
        self.boundary == boundary::OWNER && mark >= FIRST_INTERNAL_OWNER
    }

    /// Whether the frame with this `frame_owner` byte is the last that one run of the interpreter
    /// loop covers.
    #[must_use]
    pub const fn ends_run(&self, mark: u8) -> bool {
        match self.boundary {
            boundary::ONE => true,
            boundary::ENTRY => mark != 0,
            _ => self.is_internal(mark),
        }
    }

    /// Bytes from the first instruction of the code object at `code` to the one that a frame's
    /// `frame_instruction` says; negative before the first one ran.
    #[must_use]
    pub const fn offset(&self, code: u64, instruction: u64) -> i32 {
        match self.instruction {
            instruction::BYTES => instruction as i32,
            instruction::UNITS => (instruction as i32).wrapping_mul(2),
            _ => {
                let first = code.wrapping_add(self.code_instructions as u64);
                instruction.wrapping_sub(first) as i32
            }
        }
    }
}
