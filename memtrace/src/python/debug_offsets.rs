//! `_Py_DebugOffsets`, with which `_PyRuntime` starts from 3.13 on: the build's own word on its
//! layouts, initialised in the file already (`Include/internal/pycore_debug_offsets.h`).

use memtrace_abi::python::Python;

use super::{Refusal, structures::Structures};

const COOKIE: &[u8] = b"xdebugpy";
const VERSION: usize = 8;
const FREE_THREADED: usize = 16;
/// `runtime_state.interpreters_head`, `interpreter_state.next` and `.threads_head`; the same in
/// 3.13 and 3.14.
const INTERPRETERS_HEAD: usize = 40;
const INTERPRETER_NEXT: usize = 64;
const THREADS_HEAD: usize = 72;
/// No structure here is larger, so no offset is.
const MAX_OFFSET: u64 = 4096;
/// Nor is there a larger one of a member in the state of an interpreter.
const MAX_STATE: u64 = 1 << 16;
/// Bytes of the table in 3.14, the larger one.
pub const SIZE: u64 = 760;

/// Where the table of one minor version keeps the offsets.
struct Positions {
    current_frame: usize,
    previous: usize,
    executable: usize,
    instruction: usize,
    owner: usize,
    filename: usize,
    qualname: usize,
    line_table: usize,
    first_line: usize,
    instructions: usize,
    ascii_size: usize,
}

const V3_13: Positions = Positions {
    current_frame: 184,
    previous: 232,
    executable: 240,
    instruction: 248,
    owner: 264,
    filename: 280,
    qualname: 296,
    line_table: 304,
    first_line: 312,
    instructions: 344,
    ascii_size: 560,
};

const V3_14: Positions = Positions {
    current_frame: 208,
    previous: 256,
    executable: 264,
    instruction: 272,
    owner: 288,
    filename: 320,
    qualname: 336,
    line_table: 344,
    first_line: 352,
    instructions: 384,
    ascii_size: 640,
};

/// The table of one interpreter.
pub struct DebugOffsets<'data>(&'data [u8]);

impl<'data> DebugOffsets<'data> {
    /// The table, if the bytes of `_PyRuntime` start with one.
    pub fn parse(runtime: &'data [u8]) -> Option<Self> {
        runtime.starts_with(COOKIE).then_some(Self(runtime))
    }

    /// Whether the interpreter runs without the global interpreter lock.
    pub fn is_free_threaded(&self) -> bool {
        self.word(FREE_THREADED).is_some_and(|flag| flag != 0)
    }

    /// The version's layout with the build's own offsets in it.
    pub fn apply(&self, layout: Python) -> Result<Python, Refusal> {
        self.layout(layout).ok_or(Refusal::Incomplete("table of debug offsets"))
    }

    /// The same for what the object reader needs.
    pub fn apply_structures(&self, structures: Structures) -> Option<Structures> {
        Some(Structures {
            interpreters_head: self.offset(INTERPRETERS_HEAD)?.into(),
            interpreter_next: self.word(INTERPRETER_NEXT).filter(|next| *next < MAX_STATE)?,
            threads_head: self.word(THREADS_HEAD).filter(|head| *head < MAX_STATE)?,
            ..structures
        })
    }

    fn layout(&self, layout: Python) -> Option<Python> {
        let at = match layout.minor {
            13 => V3_13,
            14 => V3_14,
            _ => return None,
        };
        (self.minor()? == layout.minor).then_some(())?;
        Some(Python {
            thread_frame: self.offset(at.current_frame)?,
            frame_previous: self.offset(at.previous)?,
            frame_code: self.offset(at.executable)?,
            frame_instruction: self.offset(at.instruction)?,
            frame_owner: self.offset(at.owner)?,
            code_filename: self.offset(at.filename)?,
            code_name: self.offset(at.qualname)?,
            code_lines: self.offset(at.line_table)?,
            code_first_line: self.offset(at.first_line)?,
            code_instructions: self.offset(at.instructions)?,
            string_ascii: self.offset(at.ascii_size)?,
            ..layout
        })
    }

    fn minor(&self) -> Option<u8> {
        Some(self.word(VERSION)?.to_be_bytes()[5])
    }

    fn offset(&self, position: usize) -> Option<u16> {
        let offset = self.word(position)?;
        (offset < MAX_OFFSET).then_some(offset as u16)
    }

    fn word(&self, position: usize) -> Option<u64> {
        Some(u64::from_le_bytes(*self.0.get(position..)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::layout;

    fn table(minor: u8, fields: &[(usize, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; SIZE as usize];
        bytes[..8].copy_from_slice(COOKIE);
        bytes[VERSION..VERSION + 8]
            .copy_from_slice(&(0x0300_00f0 | u64::from(minor) << 16).to_le_bytes());
        for (position, value) in fields {
            bytes[*position..position + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn the_build_has_the_last_word_on_its_layout() {
        let bytes = table(14, &[(208, 80), (384, 216), (640, 40)]);
        let row = layout::of(14).unwrap();
        let layout = DebugOffsets::parse(&bytes).unwrap().apply(row).unwrap();
        assert_eq!(layout.thread_frame, 80);
        assert_eq!(layout.code_instructions, 216);
        assert_eq!(layout.string_compact, row.string_compact);
    }

    #[test]
    fn absurd_offsets_and_another_version_are_refused() {
        let row = layout::of(13).unwrap();
        for bytes in [table(13, &[(184, 1 << 40)]), table(14, &[]), table(13, &[])[..300].into()] {
            assert!(DebugOffsets::parse(&bytes).unwrap().apply(row).is_err());
        }
    }

    #[test]
    fn free_threaded_builds_say_so() {
        assert!(DebugOffsets::parse(&table(13, &[(16, 1)])).unwrap().is_free_threaded());
        assert!(!DebugOffsets::parse(&table(13, &[])).unwrap().is_free_threaded());
        assert!(DebugOffsets::parse(&[0; 760]).is_none());
    }
}
