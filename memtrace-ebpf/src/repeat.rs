//! Whether a thread's stack is one that it had before.
//!
//! A walk is decided by the registers it starts from, the mappings, and the values it reads. So
//! each thread remembers its latest walks with everything they read; if all of it is still the
//! same, so is the stack, and no table is searched. A walk that met anything unusual is not
//! remembered.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use memtrace_abi::{process::Process, unwind::Registers};

use crate::{
    interpreter::{self, Executed},
    verifier::within,
    walk::Walk,
    window::StackWindow,
};

/// Walks that a thread remembers; a power of two.
const WAYS: usize = 2;
/// Words of the stack that a remembered walk may have read; a power of two.
const MAX_READS: usize = 128;
/// Python frames that a remembered walk may have passed; a power of two.
const MAX_EXECUTED: usize = 32;

/// The latest walks of a thread.
#[repr(C)]
pub(crate) struct Memories([Memory; WAYS]);

/// A walk and all that it depended on.
#[repr(C)]
pub(crate) struct Memory {
    key: Key,
    /// The stack that was found; 0 if there is none to remember.
    stack: u64,
    read_count: u64,
    executed_count: u64,
    /// 1: the walk used the frame pointer register that it started with. Most functions keep
    /// something else in it, which changes from call to call and decides nothing.
    used_fp: u64,
    /// 1: the walk asked for the innermost Python frame.
    asked_python: u64,
    /// What it was told.
    innermost: u64,
    reads: [Read; MAX_READS],
    executed: [Executed; MAX_EXECUTED],
}

/// Where a walk started, and in which mappings.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) start: Registers,
    pub(crate) call_pc: u64,
    pub(crate) mappings: u64,
    pub(crate) process: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Read {
    address: u64,
    value: u64,
}

impl Memories {
    /// The place for walks with a key; `spread` keeps different calls from the same place apart.
    pub(crate) fn place(&mut self, key: &Key, spread: u64) -> &mut Memory {
        let mixed = (key.start.pc ^ key.start.sp ^ spread << 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &mut self.0[(mixed >> 63) as usize & (WAYS - 1)]
    }
}

impl Memory {
    /// Forgets what was remembered; what follows is to be remembered under `key`.
    pub(crate) fn begin(&mut self, key: &Key) {
        self.key = *key;
        self.stack = 0;
        self.read_count = 0;
        self.executed_count = 0;
        self.used_fp = 0;
        self.asked_python = 0;
    }

    /// Notes that the stack had a value at an address.
    pub(crate) fn note_read(&mut self, address: u64, value: u64) {
        let place = within::<MAX_READS>(self.read_count as usize);
        self.reads[place] = Read { address, value };
        self.read_count += 1;
    }

    /// Notes that the frame pointer register of the start was used.
    pub(crate) fn note_fp(&mut self) {
        self.used_fp = 1;
    }

    /// Whether it is of a walk that started as `key` says.
    fn started_as(&self, key: &Key) -> bool {
        let (start, other) = (self.key.start, key.start);
        start.pc == other.pc
            && start.sp == other.sp
            && (start.fp == other.fp || self.used_fp == 0)
            && self.key.call_pc == key.call_pc
            && self.key.mappings == key.mappings
            && self.key.process == key.process
    }

    /// Notes where the Python frames of the thread begin.
    pub(crate) fn note_innermost(&mut self, frame: u64) {
        self.asked_python = 1;
        self.innermost = frame;
    }

    /// Notes a Python frame.
    pub(crate) fn note_executed(&mut self, executed: &Executed) {
        let place = within::<MAX_EXECUTED>(self.executed_count as usize);
        self.executed[place] = *executed;
        self.executed_count += 1;
    }

    /// This walk is not to be remembered.
    pub(crate) fn give_up(&mut self) {
        self.read_count = MAX_READS as u64 + 1;
    }

    /// Remembers the stack, if all that it depended on was noted.
    pub(crate) fn end(&mut self, stack: u64) {
        if self.read_count <= MAX_READS as u64 && self.executed_count <= MAX_EXECUTED as u64 {
            self.stack = stack;
        }
    }
}

/// What `bpf_loop` passes to each turn. The verifier wants it on the program's stack.
struct Comparing {
    memory: *const Memory,
    window: *const StackWindow,
    process: *const Process,
    walk: *mut Walk,
    same: u64,
}

/// The remembered stack, if everything is as it was; else 0.
pub(crate) fn recall(memory: &Memory, walk: &mut Walk, process: &Process) -> u64 {
    if memory.stack == 0 || !memory.started_as(&walk.key) {
        return 0;
    }
    let mut comparing = Comparing {
        memory,
        window: &raw const walk.window,
        process,
        walk: &raw mut *walk,
        same: 1,
    };
    let context = (&raw mut comparing).cast::<c_void>();
    // SAFETY: `compare_read` has the signature that `bpf_loop` calls; `comparing` outlives it.
    unsafe { bpf_loop(memory.read_count as u32, compare_read as *mut c_void, context, 0) };
    if comparing.same == 0 {
        return 0;
    }
    if memory.asked_python != 0 {
        if interpreter::innermost(&process.python, walk) != memory.innermost {
            return 0;
        }
        // SAFETY: as above.
        unsafe {
            bpf_loop(memory.executed_count as u32, compare_executed as *mut c_void, context, 0)
        };
    }
    if comparing.same == 0 { 0 } else { memory.stack }
}

/// Returns 1 at the first difference.
extern "C" fn compare_read(index: u64, comparing: *mut Comparing) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let comparing = unsafe { &mut *comparing };
    // SAFETY: a part of the thread's own scratch.
    let memory = unsafe { &*comparing.memory };
    // SAFETY: as above.
    let window = unsafe { &*comparing.window };
    let Read { address, value } = memory.reads[within::<MAX_READS>(index as usize)];
    let differs = window.read(address) != Some(value);
    if differs {
        comparing.same = 0;
    }
    i64::from(differs)
}

/// Returns 1 at the first difference.
extern "C" fn compare_executed(index: u64, comparing: *mut Comparing) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let comparing = unsafe { &mut *comparing };
    // SAFETY: a part of the thread's own scratch.
    let memory = unsafe { &*comparing.memory };
    // SAFETY: as above.
    let walk = unsafe { &mut *comparing.walk };
    // SAFETY: a map value, which outlives the program.
    let python = unsafe { &(*comparing.process).python };
    let differs = !interpreter::executes(
        python,
        walk,
        &memory.executed[within::<MAX_EXECUTED>(index as usize)],
    );
    if differs {
        comparing.same = 0;
    }
    i64::from(differs)
}
