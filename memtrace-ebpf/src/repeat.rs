//! Whether a thread's stack is one that it had before.
//!
//! A walk is decided by the registers it starts from, the mappings, and the values it reads. So
//! each thread remembers its latest walks: where they read, and a hash of all that they read; if
//! it is still the same, so is the stack, and no table is searched. A walk that met anything
//! unusual is not remembered. The hash is as wide as the ones that name stacks.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_loop;
use memtrace_abi::{
    process::{MAX_PROCESSES, Process},
    unwind::Registers,
};

use crate::{
    given_up,
    hash::mix,
    interpreter::{self, Executed},
    verifier::within,
    walk::Walk,
    window::StackWindow,
};

/// Walks that a thread remembers; a power of two.
const WAYS: usize = 16;
/// Words of the stack that a remembered walk may have read; a power of two.
const MAX_READS: usize = 128;
/// Words that are compared in one turn; a power of two.
const READS_PER_TURN: usize = 4;
/// Python frames that a remembered walk may have passed.
const MAX_EXECUTED: u64 = 64;

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
    /// Hash of the words that were read.
    values: u64,
    executed_count: u64,
    /// Hash of the Python frames that were passed.
    executed: u64,
    /// 1: the walk used the frame pointer register that it started with. Most functions keep
    /// something else in it, which changes from call to call and decides nothing.
    used_fp: u32,
    /// 1: the walk asked for the innermost Python frame.
    asked_python: u32,
    /// What it was told.
    innermost: u64,
    /// Where the words are, in words from the stack pointer of the start.
    places: [u16; MAX_READS],
}

/// Where a walk started, and in which mappings.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) start: Registers,
    pub(crate) call_pc: u64,
    mappings: u64,
    /// Its slot, and above how often it has given up code.
    process: u64,
}

impl Key {
    pub(crate) fn new(start: Registers, call_pc: u64, process: &Process, slot: u32) -> Self {
        let given_up = given_up::times(slot) << MAX_PROCESSES.ilog2();
        Self { start, call_pc, mappings: process.mappings, process: given_up | u64::from(slot) }
    }
}

impl Memories {
    /// The place for walks with a key; `spread` keeps different calls from the same place apart.
    pub(crate) fn place(&mut self, key: &Key, spread: u64) -> &mut Memory {
        let mixed = (key.start.pc ^ key.start.sp ^ spread << 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &mut self.0[(mixed >> 60) as usize & (WAYS - 1)]
    }
}

impl Memory {
    /// Forgets what was remembered; what follows is to be remembered under `key`.
    pub(crate) fn begin(&mut self, key: &Key) {
        self.key = *key;
        self.stack = 0;
        self.read_count = 0;
        self.values = 0;
        self.executed_count = 0;
        self.executed = 0;
        self.used_fp = 0;
        self.asked_python = 0;
    }

    /// Notes that the stack had a value at an address.
    pub(crate) fn note_read(&mut self, address: u64, value: u64) {
        let offset = address.wrapping_sub(self.key.start.sp);
        if !offset.is_multiple_of(8) || offset / 8 > u64::from(u16::MAX) {
            return self.give_up();
        }
        self.places[within::<MAX_READS>(self.read_count as usize)] = (offset / 8) as u16;
        self.values = mix(self.values, value);
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

    /// Notes a Python frame. The next one is where it says that its caller is.
    pub(crate) fn note_executed(&mut self, executed: &Executed) {
        self.executed = executed.mixed_into(self.executed);
        self.executed_count += 1;
    }

    /// This walk is not to be remembered.
    pub(crate) fn give_up(&mut self) {
        self.read_count = MAX_READS as u64 + 1;
    }

    /// Remembers the stack, if all that it depended on was noted.
    pub(crate) fn end(&mut self, stack: u64) {
        if self.read_count <= MAX_READS as u64 && self.executed_count <= MAX_EXECUTED {
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
    /// Of what was read so far.
    hash: u64,
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
        hash: 0,
    };
    let context = (&raw mut comparing).cast::<c_void>();
    let turns = memory.read_count.div_ceil(READS_PER_TURN as u64) as u32;
    // SAFETY: `read` has the signature that `bpf_loop` calls; `comparing` outlives the call.
    unsafe { bpf_loop(turns, read as *mut c_void, context, 0) };
    if comparing.hash != memory.values {
        return 0;
    }
    if memory.asked_python == 0 {
        return memory.stack;
    }
    if interpreter::innermost(&process.python, walk) != memory.innermost {
        return 0;
    }
    walk.python_frame = memory.innermost;
    comparing.hash = 0;
    // SAFETY: as above.
    unsafe { bpf_loop(memory.executed_count as u32, execute as *mut c_void, context, 0) };
    if comparing.hash == memory.executed { memory.stack } else { 0 }
}

/// Reads some words again; returns 1 to stop.
extern "C" fn read(turn: u64, comparing: *mut Comparing) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let comparing = unsafe { &mut *comparing };
    // SAFETY: a part of the thread's own scratch.
    let memory = unsafe { &*comparing.memory };
    // SAFETY: as above.
    let window = unsafe { &*comparing.window };
    // A range that began at an unknown number would have no end for the verifier.
    for step in 0..READS_PER_TURN {
        let number = turn as usize * READS_PER_TURN + step;
        if number as u64 >= memory.read_count {
            break;
        }
        let words = u64::from(memory.places[within::<MAX_READS>(number)]);
        let Some(value) = window.read(memory.key.start.sp.wrapping_add(words * 8)) else {
            comparing.hash = !memory.values;
            return 1;
        };
        comparing.hash = mix(comparing.hash, value);
    }
    0
}

/// Looks at one Python frame again; returns 1 to stop.
extern "C" fn execute(_turn: u64, comparing: *mut Comparing) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let comparing = unsafe { &mut *comparing };
    // SAFETY: a part of the thread's own scratch.
    let memory = unsafe { &*comparing.memory };
    // SAFETY: as above.
    let walk = unsafe { &mut *comparing.walk };
    // SAFETY: a map value, which outlives the program.
    let python = unsafe { &(*comparing.process).python };
    if !interpreter::look_again(python, walk) {
        comparing.hash = !memory.executed;
        return 1;
    }
    comparing.hash = walk.executed.mixed_into(comparing.hash);
    0
}
