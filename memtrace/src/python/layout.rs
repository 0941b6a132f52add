//! The layouts of the interpreter's structures by minor version, x86-64, builds with the global
//! interpreter lock: one row a version, each written as its difference from the one before.
//! Every number is `offsetof` compiled against the version's own headers.

use memtrace_abi::{
    mapping::Range,
    python::{MAX_EVALUATORS, Python, boundary, instruction},
};

/// The row of a minor version. Addresses and thread-specific data are zero: they are not a
/// matter of the version.
pub fn of(minor: u8) -> Option<Python> {
    [V3_8, V3_9, V3_10, V3_11, V3_12, V3_13, V3_14].into_iter().find(|row| row.minor == minor)
}

const V3_8: Python = Python {
    thread_key: 0,
    current_thread: 0,
    code_type: 0,
    evaluators: [Range { start: 0, end: 0 }; MAX_EVALUATORS],
    pointer_mask: u64::MAX,
    specific_first: 0,
    specific_blocks: 0,
    thread_identity: 176,
    thread_frame: 24,
    cframe_frame: u16::MAX,
    frame_code: 32,
    frame_previous: 24,
    frame_instruction: 104,
    frame_owner: 0,
    code_instructions: 0,
    code_first_line: 40,
    code_filename: 104,
    code_name: 112,
    code_lines: 120,
    code_version: 0,
    string_ascii: 48,
    string_compact: 72,
    string_kind_shift: 2,
    instruction: instruction::BYTES,
    boundary: boundary::ONE,
    minor: 8,
    reserved: [0; 2],
};

const V3_9: Python = Python { minor: 9, ..V3_8 };

const V3_10: Python =
    Python { frame_instruction: 96, instruction: instruction::UNITS, minor: 10, ..V3_9 };

/// `_PyInterpreterFrame` replaces `PyFrameObject`; `frame_owner` is `is_entry`.
const V3_11: Python = Python {
    thread_identity: 152,
    thread_frame: 56,
    cframe_frame: 8,
    frame_code: 32,
    frame_previous: 48,
    frame_instruction: 56,
    frame_owner: 68,
    code_instructions: 184,
    code_first_line: 72,
    code_filename: 112,
    code_name: 128,
    code_lines: 136,
    instruction: instruction::POINTER,
    boundary: boundary::ENTRY,
    minor: 11,
    ..V3_10
};

const V3_12: Python = Python {
    cframe_frame: 0,
    frame_code: 0,
    frame_previous: 8,
    frame_owner: 70,
    code_instructions: 192,
    code_first_line: 68,
    code_version: 92,
    string_ascii: 40,
    string_compact: 56,
    boundary: boundary::OWNER,
    minor: 12,
    ..V3_11
};

const V3_13: Python =
    Python { thread_frame: 72, cframe_frame: u16::MAX, code_instructions: 200, minor: 13, ..V3_12 };

/// `f_executable` is a `_PyStackRef`, whose two lowest bits are tags.
const V3_14: Python =
    Python { pointer_mask: !3, frame_owner: 74, code_instructions: 208, minor: 14, ..V3_13 };
