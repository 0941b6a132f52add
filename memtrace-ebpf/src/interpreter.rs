//! CPython's own frames: where the interpreter loop of this thread is, and who called it.

use aya_ebpf::{
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
    macros::map,
    maps::Array,
};
use memtrace_abi::{
    frame::{Frame, Gap},
    python::{Python, boundary, instruction},
};

use crate::{
    code, memory,
    walk::{Context, Walk, mode, push},
};

/// Offset of `thread.fsbase` in the kernel's `task_struct`, from BTF.
#[map]
static FS_BASE_OFFSET: Array<u64> = Array::with_max_entries(1, 0);

/// Keys per block of thread-specific data: glibc, `sysdeps/nptl/internaltypes.h`.
const KEYS_PER_BLOCK: u64 = 32;
/// From here on frames are not executing Python code: 3.12 `pycore_frame.h`, `enum _frameowner`.
const FIRST_INTERNAL_OWNER: u64 = 3;

/// Words of a frame that are read, up to 3.10 and from 3.11 on.
const OLD_FRAME_WORDS: usize = 14;
const FRAME_WORDS: usize = 10;

/// The head of a frame: as many words as any version needs.
#[repr(C)]
pub(crate) struct FrameHeader([u64; 16]);

impl FrameHeader {
    /// The 8 bytes at an offset that is a multiple of 8.
    fn word(&self, offset: u16) -> u64 {
        self.0[usize::from(offset / 8) % 16]
    }

    fn int(&self, offset: u16) -> i32 {
        (self.word(offset) >> (u32::from(offset % 8) * 8)) as i32
    }

    fn byte(&self, offset: u16) -> u64 {
        self.word(offset) >> (u32::from(offset % 8) * 8) & 0xff
    }
}

/// Finds the thread's innermost Python frame, once per walk.
pub(crate) fn enter(context: &Context, walk: &mut Walk) {
    // SAFETY: a map value, which outlives the program.
    let python = unsafe { &(*context.process).python };
    if walk.python_known != 0 || python.thread_key == 0 {
        return;
    }
    walk.python_known = 1;
    walk.python_frame = innermost(python, walk);
    // SAFETY: the thread's own scratch; nobody else uses it.
    unsafe { &mut *context.memory }.note_innermost(walk.python_frame);
}

/// The thread's innermost Python frame; 0 if there is none.
pub(crate) fn innermost(python: &Python, walk: &mut Walk) -> u64 {
    find_innermost(python, walk).unwrap_or_default()
}

fn find_innermost(python: &Python, walk: &mut Walk) -> Option<u64> {
    let state = thread_state(python, walk)?;
    let frame: u64 = memory::read(state + u64::from(python.thread_frame))?;
    if python.cframe_frame == u16::MAX || frame == 0 {
        return Some(frame);
    }
    memory::read(frame + u64::from(python.cframe_frame))
}

/// `pthread_getspecific(_PyRuntime.autoTSSkey)`. Unlike the holder of the interpreter lock, it is
/// right for a thread that has released the lock. `None` for a thread without Python state.
fn thread_state(python: &Python, walk: &mut Walk) -> Option<u64> {
    let [initialized, key]: [u32; 2] = memory::read(python.thread_key)?;
    if initialized == 0 {
        return None;
    }
    if walk.thread_pointer == 0 {
        walk.thread_pointer = thread_pointer()?;
    }
    let key = u64::from(key);
    let block = if key < KEYS_PER_BLOCK {
        walk.thread_pointer + u64::from(python.specific_first)
    } else {
        let blocks = walk.thread_pointer + u64::from(python.specific_blocks);
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
    if read_header(python, walk).is_none() {
        walk.python_frame = 0;
        push(walk, Frame::Incomplete(Gap::Python as u32))?;
        return leave(walk);
    }
    let mut executed = Executed::of(python, walk);
    let mark = executed.mark;
    let internal = executed.is_internal(python);
    if !internal {
        let number = code::identify(context, python, walk, executed.code);
        executed.contents = walk.code_header.contents(python);
        if number == 0 {
            // It may have a name next time.
            // SAFETY: the thread's own scratch; nobody else uses it.
            unsafe { &mut *context.memory }.give_up();
        }
        push(walk, executed.frame(python, number))?;
    }
    // SAFETY: the thread's own scratch; nobody else uses it.
    unsafe { &mut *context.memory }.note_executed(executed);
    walk.python_frame = walk.frame_header.word(python.frame_previous);
    let last = match python.boundary {
        boundary::ONE => true,
        boundary::ENTRY => mark != 0,
        _ => internal,
    };
    if last { leave(walk) } else { Some(()) }
}

/// Back to the native frame of the interpreter loop, unless native frames are lost anyway.
fn leave(walk: &mut Walk) -> Option<()> {
    if walk.mode == mode::PYTHON_ONLY {
        return (walk.python_frame != 0).then_some(());
    }
    walk.mode = mode::NATIVE;
    walk.evaluated = 1;
    Some(())
}

/// Reads no further than the smallest frame of the version reaches: it may end a page.
fn read_header(python: &Python, walk: &mut Walk) -> Option<()> {
    let header = &mut walk.frame_header;
    if python.instruction != instruction::POINTER {
        let (start, _) = header.0.split_first_chunk_mut::<OLD_FRAME_WORDS>()?;
        return memory::read_into(start, walk.python_frame);
    }
    let (start, _) = header.0.split_first_chunk_mut::<FRAME_WORDS>()?;
    if walk.frame_window.copy_out(start, walk.python_frame) {
        return Some(());
    }
    // The callers lie below.
    let size = (FRAME_WORDS * 8) as u64;
    walk.frame_window.open_below(walk.python_frame.wrapping_add(size), size);
    if walk.frame_window.copy_out(start, walk.python_frame) {
        return Some(());
    }
    memory::read_into(start, walk.python_frame)
}

/// A Python frame and what decides how it is shown.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Executed {
    address: u64,
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
    /// The frame whose header was read last.
    fn of(python: &Python, walk: &Walk) -> Self {
        let header = &walk.frame_header;
        let instruction = match python.instruction {
            instruction::POINTER => header.word(python.frame_instruction),
            _ => u64::from(header.int(python.frame_instruction).cast_unsigned()),
        };
        Self {
            address: walk.python_frame,
            code: header.word(python.frame_code) & python.pointer_mask,
            instruction,
            previous: header.word(python.frame_previous),
            mark: header.byte(python.frame_owner),
            contents: 0,
        }
    }

    /// Whether it stands for a call from native code rather than for a function.
    fn is_internal(&self, python: &Python) -> bool {
        python.boundary == boundary::OWNER && self.mark >= FIRST_INTERNAL_OWNER
    }

    fn frame(&self, python: &Python, code: u32) -> Frame {
        if code == 0 {
            return Frame::Incomplete(Gap::Python as u32);
        }
        let instruction = match python.instruction {
            instruction::BYTES => self.instruction as i32,
            instruction::UNITS => (self.instruction as i32).wrapping_mul(2),
            _ => {
                let first = self.code.wrapping_add(u64::from(python.code_instructions));
                self.instruction.wrapping_sub(first) as i32
            }
        };
        Frame::Python { code, instruction }
    }
}

/// Whether a frame is still there and executes what it did.
pub(crate) fn executes(python: &Python, walk: &mut Walk, remembered: &Executed) -> bool {
    walk.python_frame = remembered.address;
    if read_header(python, walk).is_none() {
        return false;
    }
    let mut executed = Executed::of(python, walk);
    if remembered.contents != 0 {
        if walk.code_header.read(executed.code).is_none() {
            return false;
        }
        executed.contents = walk.code_header.contents(python);
    }
    executed == *remembered
}
