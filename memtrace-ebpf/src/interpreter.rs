//! CPython's own frames: where the interpreter loop of this thread is, and who called it.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
    macros::map,
    maps::Array,
};
use memtrace_abi::{
    frame::{Frame, Gap},
    python::{LAST_HOLDER_TO_CURRENT, Python, instruction},
};

use crate::{
    code, hash, memory,
    walk::{Context, Walk, mode, push},
};

/// Offset of `thread.fsbase` in the kernel's `task_struct`, from BTF.
#[map]
static FS_BASE_OFFSET: Array<u64> = Array::with_max_entries(1, 0);

/// Keys per block of thread-specific data: glibc, `sysdeps/nptl/internaltypes.h`.
const KEYS_PER_BLOCK: u64 = 32;
/// Words of a frame that are read, up to 3.10 and from 3.11 on: no further than the smallest frame
/// of the version reaches, since it may end a page.
pub(crate) const OLD_FRAME_WORDS: usize = 14;
pub(crate) const FRAME_WORDS: u64 = 10;

/// Finds the thread's innermost Python frame, once per walk; where no frame is left at a further
/// run of the interpreter loop, the frames of the interpreter that the thread came from.
pub(crate) fn enter(context: &Context, walk: &mut Walk) {
    // SAFETY: a map value, which outlives the program.
    let python = unsafe { &(*context.process).python };
    if python.thread_key == 0 {
        return;
    }
    // SAFETY: the thread's own scratch; nobody else uses it.
    let memory = unsafe { &mut *context.memory };
    if walk.python_known == 0 {
        walk.python_known = 1;
        walk.python_frame = innermost(python, walk);
        memory.note_innermost(walk.python_frame);
    } else if walk.python_frame == 0 && walk.outer_frame != 0 {
        memory.give_up();
        walk.python_frame = core::mem::take(&mut walk.outer_frame);
    }
}

/// The thread's innermost Python frame; 0 if there is none.
pub(crate) fn innermost(python: &Python, walk: &mut Walk) -> u64 {
    find_innermost(python, walk).unwrap_or_default()
}

fn find_innermost(python: &Python, walk: &mut Walk) -> Option<u64> {
    walk.outer_frame = 0;
    walk.doubted_state = 0;
    if walk.thread_pointer == 0 {
        walk.thread_pointer = thread_pointer()?;
    }
    let own = specific_state(python, walk.thread_pointer)?;
    let frame = current_frame(python, own)?;
    let Some(state) = current_state(python, own) else { return Some(frame) };
    if holds_the_lock(python, walk.thread_pointer, own) {
        walk.outer_frame = frame;
        return current_frame(python, state);
    }
    walk.doubted_state = state;
    Some(frame)
}

/// Whether the frames were those of the wrong interpreter: the thread runs the interpreter loop
/// more often than the state has frames, and another state holds the lock. Then `walk` has the
/// frames of that one, and those that there were follow.
pub(crate) fn is_mistaken(python: &Python, walk: &mut Walk) -> bool {
    let state = core::mem::take(&mut walk.doubted_state);
    if walk.python_frame != 0 || state == 0 {
        return false;
    }
    entered_by_another(python, walk, state).is_some()
}

fn entered_by_another(python: &Python, walk: &mut Walk, state: u64) -> Option<()> {
    let maker: u64 = memory::read(state + u64::from(python.thread_identity))?;
    if specific_state(python, maker) == Some(state) {
        return None;
    }
    let own = specific_state(python, walk.thread_pointer)?;
    walk.outer_frame = current_frame(python, own)?;
    walk.python_frame = current_frame(python, state)?;
    Some(())
}

/// The innermost Python frame of a thread state; 0 if there is none.
pub(crate) fn current_frame(python: &Python, state: u64) -> Option<u64> {
    let frame: u64 = memory::read(state + u64::from(python.thread_frame))?;
    if python.cframe_frame == u16::MAX || frame == 0 {
        return Some(frame);
    }
    memory::read(frame + u64::from(python.cframe_frame))
}

/// The state of the thread with this thread pointer; `None` for a thread without Python state.
#[expect(clippy::inline_always, reason = "Linux 6.1 counts 32 bytes of stack for any function")]
#[inline(always)]
pub(crate) fn thread_state(python: &Python, thread_pointer: u64) -> Option<u64> {
    let own = specific_state(python, thread_pointer)?;
    match current_state(python, own) {
        Some(state) if holds_the_lock(python, thread_pointer, own) => Some(state),
        _ => Some(own),
    }
}

/// The state that holds the interpreter lock, if it is not the thread's own: that of another
/// thread, or of a sub-interpreter that some thread runs, perhaps this one.
fn current_state(python: &Python, own: u64) -> Option<u64> {
    if python.current_thread == 0 {
        return None;
    }
    let state: u64 = memory::read(python.current_thread)?;
    (state != 0 && state != own).then_some(state)
}

/// Whether this thread took the lock last: with its own state, or with another that it made. Who
/// took it with a state that another thread made is not told.
fn holds_the_lock(python: &Python, thread_pointer: u64, own: u64) -> bool {
    let Some(holder) = memory::read::<u64>(python.current_thread - LAST_HOLDER_TO_CURRENT) else {
        return false;
    };
    holder == own
        || memory::read(holder + u64::from(python.thread_identity)) == Some(thread_pointer)
}

/// `pthread_getspecific(_PyRuntime.autoTSSkey)`. Unlike the holder of the interpreter lock, it is
/// right for a thread that has released the lock. Up to 3.11 it is the main interpreter's.
fn specific_state(python: &Python, thread_pointer: u64) -> Option<u64> {
    let [initialized, key]: [u32; 2] = memory::read(python.thread_key)?;
    if initialized == 0 {
        return None;
    }
    let key = u64::from(key);
    let block = if key < KEYS_PER_BLOCK {
        thread_pointer + u64::from(python.specific_first)
    } else {
        let blocks = thread_pointer + u64::from(python.specific_blocks);
        memory::read(blocks + key / KEYS_PER_BLOCK * 8)?
    };
    let value: u64 = memory::read(block + key % KEYS_PER_BLOCK * 16 + 8)?;
    (value != 0).then_some(value)
}

fn thread_pointer() -> Option<u64> {
    let offset = *FS_BASE_OFFSET.get(0)?;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    // SAFETY: the helper fails on an address it cannot read.
    unsafe { bpf_probe_read_kernel((task + offset) as *const u64) }.ok()
}

/// One turn of the walk in one of the Python modes.
pub(crate) fn frame(context: &Context, walk: &mut Walk) -> Option<()> {
    // SAFETY: a map value, which outlives the program.
    let python = unsafe { &(*context.process).python };
    if walk.python_frame == 0 {
        return leave(walk);
    }
    if look_at(python, walk).is_none() {
        walk.python_frame = 0;
        // SAFETY: the thread's own scratch; nobody else uses it.
        unsafe { &mut *context.memory }.give_up();
        push(walk, Frame::Incomplete(Gap::Python as u32))?;
        return leave(walk);
    }
    let mark = walk.executed.mark as u8;
    if !python.is_internal(mark) {
        push_executed(context, python, walk)?;
    }
    // SAFETY: the thread's own scratch; nobody else uses it.
    unsafe { &mut *context.memory }.note_executed(&walk.executed);
    walk.python_frame = walk.executed.previous;
    if python.ends_run(mark) { leave(walk) } else { Some(()) }
}

fn push_executed(context: &Context, python: &Python, walk: &mut Walk) -> Option<()> {
    let number = code::identify(context, python, walk, walk.executed.code);
    walk.executed.contents = walk.code_header.contents;
    if number == 0 {
        // It may have a name next time.
        // SAFETY: the thread's own scratch; nobody else uses it.
        unsafe { &mut *context.memory }.give_up();
    }
    push(walk, walk.executed.frame(python, number))
}

/// Back to the native frame of the interpreter loop, unless native frames are lost anyway.
fn leave(walk: &mut Walk) -> Option<()> {
    if walk.mode == mode::PYTHON_ONLY {
        if walk.python_frame == 0 {
            walk.python_frame = core::mem::take(&mut walk.outer_frame);
        }
        return (walk.python_frame != 0).then_some(());
    }
    walk.mode = mode::NATIVE;
    walk.evaluated = 1;
    Some(())
}

/// Describes the Python frame that the walk stands at.
fn look_at(python: &Python, walk: &mut Walk) -> Option<()> {
    open_window(python, walk);
    let address = walk.python_frame;
    let window = &walk.frame_window;
    let word = |offset: u16| window.read(address.wrapping_add(u64::from(offset & !7)));
    let shifted = |offset: u16| Some(word(offset)? >> (u32::from(offset % 8) * 8));
    let instruction = shifted(python.frame_instruction)?;
    walk.executed = Executed {
        code: word(python.frame_code)? & python.pointer_mask,
        instruction: match python.instruction {
            instruction::POINTER => instruction,
            _ => instruction & u64::from(u32::MAX),
        },
        previous: word(python.frame_previous)?,
        mark: shifted(python.frame_owner)? & 0xff,
        contents: 0,
    };
    Some(())
}

/// Copies the frame, and from 3.11 on those of its callers that lie below.
fn open_window(python: &Python, walk: &mut Walk) {
    let frame = walk.python_frame;
    if python.instruction != instruction::POINTER {
        walk.frame_window.open_words::<OLD_FRAME_WORDS>(frame);
    } else if !walk.frame_window.holds(frame, FRAME_WORDS * 8) {
        walk.frame_window.open_below(frame.wrapping_add(FRAME_WORDS * 8), FRAME_WORDS * 8);
    }
}

/// A Python frame and what decides how it is shown.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Executed {
    code: u64,
    /// A pointer, or an index.
    instruction: u64,
    previous: u64,
    /// The byte that [`boundary`] looks at.
    mark: u64,
    /// What the code object says, mixed; 0 for a frame without code.
    contents: u64,
}

impl Executed {
    /// Adds it to a hash.
    pub(crate) fn mixed_into(&self, hash: u64) -> u64 {
        let Self { code, instruction, previous, mark, contents } = *self;
        [code, instruction, previous, mark, contents].into_iter().fold(hash, hash::mix)
    }

    fn frame(&self, python: &Python, code: u32) -> Frame {
        if code == 0 {
            return Frame::Incomplete(Gap::Python as u32);
        }
        let instruction = python.offset(self.code, self.instruction);
        Frame::Python { code, instruction }
    }
}

/// Looks at the walk's Python frame and moves on to its caller; whether it could be read.
pub(crate) fn look_again(python: &Python, walk: &mut Walk) -> bool {
    if look_at(python, walk).is_none() {
        return false;
    }
    if !python.is_internal(walk.executed.mark as u8) {
        if walk.code_header.read(python, walk.executed.code).is_none() {
            return false;
        }
        walk.executed.contents = walk.code_header.contents;
    }
    walk.python_frame = walk.executed.previous;
    true
}
