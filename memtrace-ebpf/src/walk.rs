//! Walks a user stack: native frames by unwind tables, and at each run of the interpreter loop the
//! Python frames that it executes. One frame per turn of `bpf_loop`, so that the verifier checks
//! one frame only.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use memtrace_abi::{
    frame::{CHUNK_FRAMES, Frame, Gap, MAX_FRAMES},
    mapping::Mapping,
    process::Process,
    unwind::{Cfa, Fp, Registers, Rule, Stop, step},
};

use crate::{
    calls::Calls,
    code::CodeHeader,
    interpreter::{self, Executed},
    lifecycle, native,
    repeat::{self, Key, Memory},
    stacks,
    stacks::{Chunks, MAX_CHUNKS},
    threads::Thread,
    verifier::within,
    window::{FrameWindow, StackWindow},
};

/// Turns of the loop: each frame takes one, each run of the interpreter one more, and a walk may
/// begin again once.
const MAX_TURNS: u32 = 4 * MAX_FRAMES;

/// What the next turn does. The value is [`Walk::mode`].
pub(crate) mod mode {
    /// A native frame.
    pub(crate) const NATIVE: u32 = 0;
    /// A Python frame of the interpreter run that the walk stands at.
    pub(crate) const PYTHON: u32 = 1;
    /// A Python frame, although the native frames between are lost.
    pub(crate) const PYTHON_ONLY: u32 = 2;
}

/// The state of a walk.
#[repr(C)]
pub(crate) struct Walk {
    /// Where it starts.
    pub(crate) key: Key,
    /// Of the frame that the walk stands at.
    registers: Registers,
    /// Where `registers.fp` was read; 0 while it is the register of the start.
    fp_saved_at: u64,
    /// Frames pushed.
    count: u64,
    /// The thread's `fs` base, once known. It does not change.
    pub(crate) thread_pointer: u64,
    /// The next Python frame, or 0.
    pub(crate) python_frame: u64,
    /// Where Python goes on behind the last frame of a sub-interpreter, or 0.
    pub(crate) outer_frame: u64,
    /// The thread state of a sub-interpreter that this thread may run, or 0.
    pub(crate) doubted_state: u64,
    /// See [`mode`].
    pub(crate) mode: u32,
    /// 1: `registers.pc` is a return address, so the call is at the byte before it.
    returned: u32,
    /// 1: the Python frames of this interpreter run have been pushed.
    pub(crate) evaluated: u32,
    /// 1: `python_frame` has been initialised.
    pub(crate) python_known: u32,
    /// The mapping used last; most callers share it.
    mapping: Mapping,
    pub(crate) executed: Executed,
    pub(crate) code_header: CodeHeader,
    pub(crate) window: StackWindow,
    pub(crate) frame_window: FrameWindow,
    chunks: Chunks,
}

/// What `bpf_loop` passes to each turn. The verifier wants it on the program's stack.
pub(crate) struct Context {
    pub(crate) walk: *mut Walk,
    calls: *const Calls,
    pub(crate) memory: *mut Memory,
    pub(crate) process: *const Process,
    pub(crate) slot: u64,
    /// 1 once the walk has reached the thread's first frame without a gap.
    complete: u64,
}

/// Walks the stack of the thread's returned call and stores it; returns its id.
pub(crate) fn record_call(thread: &mut Thread, process: &Process, slot: u32, fp: u64) -> u64 {
    let call = &thread.calls.returned;
    let start = Registers { pc: call.return_address, sp: call.sp + 8, fp };
    let (call_pc, spread) = (call.pc, call.size);
    record(thread, process, slot, &Start { registers: start, call_pc, spread })
}

/// Where a walk begins.
pub(crate) struct Start {
    pub(crate) registers: Registers,
    /// Address of the function that has returned to there; 0: none has, the thread is there.
    pub(crate) call_pc: u64,
    /// Keeps what begins at the same place apart.
    pub(crate) spread: u64,
}

/// Walks the thread's stack and stores it; returns its id. Not inlined: the program's stack is
/// small.
#[inline(never)]
pub(crate) fn record(thread: &mut Thread, process: &Process, slot: u32, start: &Start) -> u64 {
    let walk = &mut thread.walk;
    let Start { registers: start, call_pc, spread } = *start;
    walk.key = Key::new(start, call_pc, process, slot);
    walk.window.open(start.sp);
    walk.frame_window.close();
    walk.code_header.forget();
    let memory = thread.memories.place(&walk.key, spread);
    // Return addresses that were replaced by probes are not what they seem.
    let plain = !thread.calls.are_pending();
    if plain {
        match repeat::recall(memory, walk, process) {
            0 => {}
            stack => return stack,
        }
    }
    memory.begin(&walk.key);
    walk.python_known = 0;
    walk.python_frame = 0;
    begin(walk, process, slot);
    let mut context = Context {
        walk: &raw mut *walk,
        calls: &raw const thread.calls,
        memory: &raw mut *memory,
        process: &raw const *process,
        slot: u64::from(slot),
        complete: 0,
    };
    // SAFETY: `turn` has the signature that `bpf_loop` calls; `context` outlives the call.
    unsafe { bpf_loop(MAX_TURNS, turn as *mut c_void, (&raw mut context).cast(), 0) };
    let stack = stacks::store(&mut walk.chunks, walk.count);
    if plain && context.complete != 0 {
        memory.end(stack);
    }
    stack
}

fn begin(walk: &mut Walk, process: &Process, slot: u32) {
    walk.count = 0;
    walk.mode = mode::NATIVE;
    walk.evaluated = 0;
    walk.mapping = Mapping::default();
    // The allocator function itself has returned: it is a frame, but not one to unwind.
    if walk.key.call_pc != 0
        && let Some(mapping) = native::find_mapping(process, slot, walk.key.call_pc)
    {
        push_native(walk, mapping, walk.key.call_pc);
    }
    walk.registers = walk.key.start;
    walk.fp_saved_at = 0;
    walk.returned = u32::from(walk.key.call_pc != 0);
}

/// With the Python frames that the walk has now.
fn begin_again(context: &Context, walk: &mut Walk, process: &Process) {
    // SAFETY: the thread's own scratch; nobody else uses it.
    unsafe { &mut *context.memory }.give_up();
    begin(walk, process, context.slot as u32);
}

/// Returns 1 to end the walk.
extern "C" fn turn(_index: u64, context: *mut Context) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let context = unsafe { &mut *context };
    // SAFETY: the thread's own scratch; nobody else uses it.
    let walk = unsafe { &mut *context.walk };
    let more = if walk.mode == mode::NATIVE {
        native_turn(context, walk)
    } else {
        python_turn(context, walk)
    };
    i64::from(!more)
}

/// Whether the walk goes on. Not inlined, like its sibling: the program's stack is small.
#[inline(never)]
fn native_turn(context: &mut Context, walk: &mut Walk) -> bool {
    native_frame(context, walk).is_some()
}

/// Whether the walk goes on.
#[inline(never)]
fn python_turn(context: &Context, walk: &mut Walk) -> bool {
    interpreter::frame(context, walk).is_some()
}

/// Appends a frame. `None` when the stack is full; its last frame then says so.
pub(crate) fn push(walk: &mut Walk, frame: Frame) -> Option<()> {
    let index = walk.count as usize;
    let full = index + 1 >= MAX_FRAMES as usize;
    let frame = if full { Frame::Incomplete(Gap::TooDeep as u32) } else { frame };
    let chunk = &mut walk.chunks.0[within::<MAX_CHUNKS>(index / CHUNK_FRAMES)];
    if index.is_multiple_of(CHUNK_FRAMES) {
        // What an earlier, longer stack left behind the last frame is no part of this one.
        chunk.frames = [0; CHUNK_FRAMES];
    }
    chunk.frames[index % CHUNK_FRAMES] = frame.pack();
    walk.count += 1;
    (!full).then_some(())
}

fn push_native(walk: &mut Walk, mapping: Mapping, pc: u64) -> Option<()> {
    let address = pc.wrapping_add(mapping.bias);
    let evaluator = walk.evaluated != 0;
    push(walk, Frame::Native { object: mapping.object, address, evaluator })
}

fn native_frame(context: &mut Context, walk: &mut Walk) -> Option<()> {
    // SAFETY: a map value, which outlives the program.
    let process = unsafe { &*context.process };
    let pc = walk.registers.pc.wrapping_sub(u64::from(walk.returned));
    if pc < walk.mapping.start || walk.mapping.end <= pc {
        let Some(mapping) = native::find_mapping(process, context.slot as u32, pc) else {
            lifecycle::report_unmapped(context.slot as u32, pc);
            push(walk, Frame::Unmapped { address: pc })?;
            return python_only(context, walk, Gap::Unmapped);
        };
        walk.mapping = mapping;
    }
    if walk.evaluated == 0 && process.python.is_evaluator(pc) {
        interpreter::enter(context, walk);
        if walk.python_frame != 0 {
            walk.mode = mode::PYTHON;
            return Some(());
        }
        if interpreter::is_mistaken(&process.python, walk) {
            begin_again(context, walk, process);
            return Some(());
        }
    }
    let mapping = walk.mapping;
    push_native(walk, mapping, pc)?;
    walk.evaluated = 0;
    match caller(context, walk, mapping.object, pc.wrapping_add(mapping.bias)) {
        Ok(()) => Some(()),
        Err(Stop::End) => {
            context.complete = 1;
            None
        }
        Err(Stop::NoRow) => python_only(context, walk, Gap::NoRow),
        Err(Stop::Unsupported) => python_only(context, walk, Gap::Unsupported),
        Err(Stop::Unreadable) => python_only(context, walk, Gap::Unreadable),
        Err(Stop::NoProgress) => python_only(context, walk, Gap::NoProgress),
    }
}

/// Moves the walk to the caller of the frame at `address` in its object.
fn caller(context: &Context, walk: &mut Walk, object: u32, address: u64) -> Result<(), Stop> {
    let rule = native::find_rule(object, address).ok_or(Stop::NoRow)?;
    let callee = Registers { pc: address, ..walk.registers };
    let mut caller = step(rule, callee, |address| walk.window.read(address))?;
    // SAFETY: the thread's own scratch; nobody else uses it.
    note_reads(unsafe { &mut *context.memory }, walk, rule, caller);
    walk.returned = u32::from(rule.cfa != Cfa::Signal as u8);
    if walk.returned != 0 {
        // SAFETY: the thread's own calls; nobody else uses them.
        let calls = unsafe { &*context.calls };
        if calls.are_pending()
            && let Some(address) = calls.replaced_return_address(caller.sp.wrapping_sub(8))
        {
            caller.pc = address;
        }
    }
    if caller.pc == 0 {
        return Err(Stop::End);
    }
    walk.registers = caller;
    Ok(())
}

/// Notes what a step from the walk's frame to `caller` depended on. A saved frame pointer counts
/// only once it is used.
fn note_reads(memory: &mut Memory, walk: &mut Walk, rule: Rule, caller: Registers) {
    if rule.cfa == Cfa::Signal as u8 {
        return memory.give_up();
    }
    let fp = walk.registers.fp;
    if rule.uses_fp() {
        if walk.fp_saved_at == 0 {
            memory.note_fp();
        } else {
            memory.note_read(walk.fp_saved_at, fp);
        }
    }
    let base = match rule.cfa {
        kind if kind == Cfa::SpDeref as u8 => Some(walk.registers.sp),
        kind if kind == Cfa::FpDeref as u8 => Some(fp),
        _ => None,
    };
    let at = |base: u64, offset: i32| base.wrapping_add_signed(i64::from(offset));
    if let Some(base) = base {
        let saved = caller.sp.wrapping_sub(i64::from(rule.cfa_addend).cast_unsigned());
        memory.note_read(at(base, rule.cfa_offset), saved);
    }
    memory.note_read(caller.sp.wrapping_sub(8), caller.pc);
    match rule.fp {
        kind if kind == Fp::AtCfa as u8 => walk.fp_saved_at = at(caller.sp, rule.fp_offset),
        kind if kind == Fp::AtFp as u8 => walk.fp_saved_at = at(fp, rule.fp_offset),
        _ => {}
    }
}

/// Goes on with Python frames alone, after saying why.
fn python_only(context: &Context, walk: &mut Walk, gap: Gap) -> Option<()> {
    push(walk, Frame::Incomplete(gap as u32))?;
    interpreter::enter(context, walk);
    walk.mode = mode::PYTHON_ONLY;
    (walk.python_frame != 0).then_some(())
}
