//! Python frames as they lie in the memory of a process: which one a thread executes, and which
//! called it. Follows what the kernel programs do, over whatever reads words.

use memtrace_abi::python::{LAST_HOLDER_TO_CURRENT, Python, instruction};

/// Keys per block of thread-specific data: glibc, `sysdeps/nptl/internaltypes.h`.
const KEYS_PER_BLOCK: u64 = 32;
/// Far more than any process has.
const MAX_KEY: u64 = 1 << 16;

/// What a frame was executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed {
    /// Address of its code object.
    pub code: u64,
    /// Bytes from the first instruction; negative before the first one ran.
    pub instruction: i32,
    /// Address of the frame that called it, or 0.
    pub previous: u64,
    /// Whether it stands for a call from native code rather than for a function.
    pub is_internal: bool,
    /// Whether it is the last that one run of the interpreter loop covers.
    pub ends_run: bool,
}

impl Executed {
    /// The frame at an address.
    pub fn read(python: &Python, frame: u64, read: impl Fn(u64) -> Option<u64>) -> Option<Self> {
        let word = |offset: u16| read(frame.wrapping_add(u64::from(offset & !7)));
        let shifted = |offset: u16| Some(word(offset)? >> (u32::from(offset % 8) * 8));
        let code = word(python.frame_code)? & python.pointer_mask;
        let instruction = match python.instruction {
            instruction::POINTER => shifted(python.frame_instruction)?,
            _ => shifted(python.frame_instruction)? & u64::from(u32::MAX),
        };
        let mark = shifted(python.frame_owner)? as u8;
        Some(Self {
            code,
            instruction: python.offset(code, instruction),
            previous: word(python.frame_previous)?,
            is_internal: python.is_internal(mark),
            ends_run: python.ends_run(mark),
        })
    }
}

/// The `PyThreadState` of the thread with this thread pointer; `None` for a thread without one.
pub fn thread_state(
    python: &Python,
    thread_pointer: u64,
    read: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let own = specific_state(python, thread_pointer, &read)?;
    Some(entered_state(python, thread_pointer, own, &read).unwrap_or(own))
}

/// The state of the sub-interpreter that the thread runs, if it took the interpreter lock last: with its
/// own state, or with another that it made.
fn entered_state(
    python: &Python,
    thread_pointer: u64,
    own: u64,
    read: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let place = Some(python.current_thread).filter(|place| *place != 0)?;
    let state = read(place).filter(|state| *state != 0 && *state != own)?;
    let holder = read(place.wrapping_sub(LAST_HOLDER_TO_CURRENT))?;
    let maker = || read(holder.wrapping_add(python.thread_identity.into()));
    (holder == own || maker() == Some(thread_pointer)).then_some(state)
}

/// `pthread_getspecific` of `_PyRuntime.autoTSSkey`: the first state that the thread had.
fn specific_state(
    python: &Python,
    thread_pointer: u64,
    read: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let word = read(python.thread_key)?;
    let (is_initialized, key) = (word as u32 != 0, word >> 32);
    if !is_initialized || key > MAX_KEY {
        return None;
    }
    let block = if key < KEYS_PER_BLOCK {
        thread_pointer.wrapping_add(python.specific_first.into())
    } else {
        let blocks = thread_pointer.wrapping_add(python.specific_blocks.into());
        read(blocks.wrapping_add(key / KEYS_PER_BLOCK * 8))?
    };
    read(block.wrapping_add(key % KEYS_PER_BLOCK * 16 + 8)).filter(|state| *state != 0)
}

/// The frame that a thread state executes; 0 if there is none.
pub fn current_frame(
    python: &Python,
    state: u64,
    read: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let frame = read(state.wrapping_add(python.thread_frame.into()))?;
    if python.cframe_frame == u16::MAX || frame == 0 {
        return Some(frame);
    }
    read(frame.wrapping_add(python.cframe_frame.into()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::python::layout;

    fn memory(words: &[(u64, u64)]) -> impl Fn(u64) -> Option<u64> {
        let words: HashMap<u64, u64> = words.iter().copied().collect();
        move |address| words.get(&address).copied()
    }

    #[test]
    fn a_thread_state_is_found_through_its_key() {
        let python = Python { specific_first: 0x310, specific_blocks: 0x510, ..python(11) };
        let python = Python { thread_key: 0x10, ..python };
        let low = memory(&[(0x10, 3 << 32 | 1), (0x1310 + 3 * 16 + 8, 0x7000)]);
        assert_eq!(thread_state(&python, 0x1000, low), Some(0x7000));
        let high = memory(&[(0x10, 33 << 32 | 1), (0x1518, 0x5000), (0x5018, 0x7000)]);
        assert_eq!(thread_state(&python, 0x1000, high), Some(0x7000));
        for key in [3 << 32, u64::MAX, 5 << 32 | 1] {
            assert_eq!(thread_state(&python, 0x1000, memory(&[(0x10, key)])), None, "{key:#x}");
        }
    }

    #[test]
    fn who_holds_the_lock_executes_the_interpreter_that_is_current() {
        let python = Python { specific_first: 0x310, thread_key: 0x10, ..python(11) };
        let python = Python { current_thread: 0x20 + LAST_HOLDER_TO_CURRENT, ..python };
        let identity = 0x8000 + u64::from(python.thread_identity);
        let state = |current, thread, holder| {
            let key = [(0x10, 3 << 32 | 1), (0x1310 + 3 * 16 + 8, 0x7000)];
            let lock = [(python.current_thread, current), (0x20, holder), (identity, thread)];
            thread_state(&python, 0x1000, memory(&[&key[..], &lock].concat()))
        };
        assert_eq!(state(0x8000, 0x1000, 0x8000), Some(0x8000), "it made the state");
        assert_eq!(state(0x8000, 0x2000, 0x7000), Some(0x8000), "it changed over");
        assert_eq!(state(0x8000, 0x2000, 0x8000), Some(0x7000), "another thread holds it");
        assert_eq!(state(0, 0x1000, 0x7000), Some(0x7000), "nobody holds it");
        assert_eq!(state(0x8000, 0x1000, 0x9000), Some(0x7000), "another thread runs what it made");
    }

    #[test]
    fn frames_of_every_version_say_what_they_execute() {
        for minor in 8..=14 {
            let python = python(minor);
            let at = |offset: u16| 0x1000 + u64::from(offset & !7);
            let shift = |offset: u16| u32::from(offset % 8) * 8;
            let code = 0x9000;
            let instruction = match python.instruction {
                instruction::BYTES => 6,
                instruction::UNITS => 3,
                _ => code + u64::from(python.code_instructions) + 6,
            };
            let words = [
                (at(python.frame_owner), 1 << shift(python.frame_owner)),
                (at(python.frame_previous), 0x2000),
                (at(python.frame_instruction), instruction << shift(python.frame_instruction)),
                (at(python.frame_code), code),
            ];
            let executed = Executed::read(&python, 0x1000, memory(&words)).unwrap();
            assert_eq!((executed.code, executed.instruction), (code, 6), "3.{minor}");
            assert_eq!(executed.previous, 0x2000, "3.{minor}");
            assert_eq!((executed.is_internal, executed.ends_run), (false, minor < 12));
        }
    }

    fn python(minor: u8) -> Python {
        layout::of(minor).unwrap()
    }
}
