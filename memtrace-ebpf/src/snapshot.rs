//! Looks at threads without touching them: the registers of all threads as the kernel saved them
//! when each came in, and for a thread that runs, a copy of its stack at the next tick of a clock.

use aya_ebpf::{
    bindings::{pt_regs, seq_file, task_struct},
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel,
        generated::{bpf_get_current_task_btf, bpf_ktime_get_ns, bpf_seq_write, bpf_task_pt_regs},
    },
    macros::{map, perf_event},
    maps::{Array, HashMap, RingBuf},
    programs::PerfEventContext,
};
use memtrace_abi::{
    python::{Python, instruction},
    thread::{
        FRAME_WORDS, FrameCopy, MAX_PYTHON_FRAMES, MAX_STACK, STACK_PIECE, Sample, Standing,
        Subject,
    },
    unwind::Registers,
};

use crate::{interpreter, memory, verifier::within};

/// What to look at.
#[map]
static SUBJECT: Array<Subject> = Array::with_max_entries(1, 0);
/// Threads of which a sample is wanted. Preallocated: programs of clocks may use no other.
#[map]
static TO_SAMPLE: HashMap<u32, u32> = HashMap::with_max_entries(1024, 0);
/// The samples. The loader makes it larger when it wants some.
#[map]
static SAMPLES: RingBuf = RingBuf::with_byte_size(4096, 0);

/// The kernel's `struct bpf_iter__task`.
#[repr(C)]
struct Iteration {
    meta: *const Meta,
    task: *mut task_struct,
}

/// The kernel's `struct bpf_iter_meta`, as far as it matters.
#[repr(C)]
struct Meta {
    output: *mut seq_file,
}

/// Writes the [`Standing`] of each thread of the subject to whoever reads the iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn thread_standings(iteration: *const Iteration) -> i32 {
    // Threads that cannot be told are missing in the list.
    let _ = tell(iteration);
    0
}

fn tell(iteration: *const Iteration) -> Option<()> {
    // SAFETY: the kernel passes its own structure.
    let task = unsafe { (*iteration).task };
    let subject = SUBJECT.get(0)?;
    if task.is_null() {
        return None;
    }
    // The verifier forbids to add to the pointer itself; a copy of it is a number.
    // SAFETY: within the kernel's own structure; the pointer itself is not followed.
    let address: u64 = read(unsafe { &raw const (*iteration).task } as u64)?;
    if u64::from(read::<u32>(address + subject.fields.process)?) != subject.process {
        return None;
    }
    let standing = standing(address, saved(task), subject)?;
    // SAFETY: as above.
    let meta = unsafe { (*iteration).meta };
    // SAFETY: the kernel's own structure, too.
    let output = unsafe { (*meta).output };
    let size = size_of::<Standing>() as u32;
    // SAFETY: `standing` is `size` bytes; where there is no room the kernel calls again.
    unsafe { bpf_seq_write(output, (&raw const standing).cast(), size) };
    Some(())
}

/// The thread whose `task_struct` is at the address.
fn standing(task: u64, saved: &pt_regs, subject: &Subject) -> Option<Standing> {
    let fields = &subject.fields;
    let voluntary: u64 = read(task + fields.voluntary)?;
    let involuntary: u64 = read(task + fields.involuntary)?;
    Some(Standing {
        thread: read(task + fields.thread)?,
        // The kernel's field is a word or, on Linux 7.2, a byte.
        on_cpu: read::<u8>(task + fields.on_cpu)?.into(),
        registers: Registers { pc: saved.rip, sp: saved.rsp, fp: saved.rbp },
        rdi: saved.rdi,
        thread_pointer: read(task + fields.thread_pointer)?,
        switches: voluntary.wrapping_add(involuntary),
    })
}

/// What user space had in its registers when the thread last left it. The kernel saves all of them
/// at every way in (linux 6.18, `arch/x86/entry/calling.h`, `PUSH_REGS`).
fn saved(task: *mut task_struct) -> &'static pt_regs {
    // SAFETY: the task is the kernel's own.
    let saved = unsafe { bpf_task_pt_regs(task) } as *const pt_regs;
    // SAFETY: the kernel gives a place on the thread's kernel stack, which lives as long as it.
    unsafe { &*saved }
}

/// A value in the kernel's memory.
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper fails on an address it cannot read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Copies the stack of the current thread if that is wanted.
#[perf_event]
fn sample_thread(_ctx: PerfEventContext) -> u32 {
    // Without room the thread stays unsampled, and the loader sees that.
    let _ = sample();
    0
}

fn sample() -> Option<()> {
    // SAFETY: the helper has no preconditions.
    let begin = unsafe { bpf_ktime_get_ns() };
    TO_SAMPLE.remove(bpf_get_current_pid_tgid() as u32).ok()?;
    let subject = SUBJECT.get(0)?;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task_btf() };
    // SAFETY: the helper has no preconditions.
    let address = unsafe { bpf_get_current_task() };
    let standing = standing(address, saved(task), subject)?;
    let mut entry = SAMPLES.reserve::<Sample>(0)?;
    // SAFETY: every byte pattern is a valid sample, and the entry is ours until submitted.
    let sample = unsafe { entry.assume_init_mut() };
    sample.standing = standing;
    copy_stack(sample);
    copy_python(&subject.python, sample);
    // SAFETY: the helper has no preconditions.
    sample.nanoseconds = unsafe { bpf_ktime_get_ns() }.wrapping_sub(begin);
    entry.submit(0);
    Some(())
}

fn copy_stack(sample: &mut Sample) {
    let start = sample.standing.registers.sp & !(STACK_PIECE as u64 - 1);
    sample.stack_start = start;
    sample.stack_size = 0;
    let (pieces, _) = sample.stack.as_chunks_mut::<STACK_PIECE>();
    for index in 0..MAX_STACK / STACK_PIECE {
        let piece = &mut pieces[within::<{ MAX_STACK / STACK_PIECE }>(index)];
        if memory::read_into(piece, start + (index * STACK_PIECE) as u64).is_none() {
            return;
        }
        sample.stack_size += STACK_PIECE as u64;
    }
}

fn copy_python(python: &Python, sample: &mut Sample) {
    sample.thread_state = 0;
    sample.frame_count = 0;
    if python.thread_key == 0 {
        return;
    }
    let pointer = sample.standing.thread_pointer;
    let Some(state) = interpreter::thread_state(python, pointer) else { return };
    sample.thread_state = state;
    let mut address = interpreter::current_frame(python, state).unwrap_or_default();
    for index in 0..MAX_PYTHON_FRAMES {
        if address == 0 {
            return;
        }
        let copy = &mut sample.frames[within::<MAX_PYTHON_FRAMES>(index)];
        copy.address = address;
        if copy_frame(python, copy).is_none() {
            return;
        }
        sample.frame_count += 1;
        address = copy.words[within::<FRAME_WORDS>(usize::from(python.frame_previous / 8))];
    }
}

/// No further than the smallest frame of the version reaches, since it may end a page.
fn copy_frame(python: &Python, copy: &mut FrameCopy) -> Option<()> {
    if python.instruction == instruction::POINTER {
        let (words, _) =
            copy.words.split_first_chunk_mut::<{ interpreter::FRAME_WORDS as usize }>()?;
        memory::read_into(words, copy.address)
    } else {
        let (words, _) = copy.words.split_first_chunk_mut::<{ interpreter::OLD_FRAME_WORDS }>()?;
        memory::read_into(words, copy.address)
    }
}
