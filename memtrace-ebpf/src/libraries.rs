//! Libraries that a process loads. Their code runs at once, so the thread that loaded one is held
//! until the loader knows how to unwind through it, though never for long.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_ktime_get_ns, bpf_loop},
    macros::{map, uprobe},
    maps::Array,
    programs::ProbeContext,
};
use memtrace_abi::{
    event::kind,
    process::{MAX_PROCESSES, Process},
};

use crate::{atomic, lifecycle::report, own_stack, processes};

/// Changes so far, by process slot.
#[map]
static LIBRARY_CHANGES: Array<u64> = Array::with_max_entries(MAX_PROCESSES, 0);
/// How many of them the loader has caught up with, by process slot.
#[map]
static CAUGHT_UP: Array<u64> = Array::with_max_entries(MAX_PROCESSES, 0);

/// How long a thread is held at most. The loader usually needs a quarter of it; only the unwind
/// table of a very large library that was never seen before takes longer.
const PATIENCE_NANOSECONDS: u64 = 2_000_000;
/// Turns of the loop, which the time ends long before.
const MAX_TURNS: u32 = 1 << 22;

/// What `bpf_loop` passes to each turn. The verifier wants it on the program's stack.
struct Wait {
    slot: u32,
    change: u64,
    deadline: u64,
}

#[uprobe]
fn libraries_changed(ctx: ProbeContext) -> u32 {
    let cookie = processes::cookie(ctx.as_ptr());
    let Some(changes) = LIBRARY_CHANGES.get_ptr_mut(cookie.process) else {
        own_stack::keep(&ctx);
        return 0;
    };
    // SAFETY: a map value; every CPU treats it as atomic.
    let change = atomic::fetch_add(unsafe { &mut *changes }, 1) + 1;
    report(kind::LIBRARIES, cookie.process, change);
    // Before tracing begins nobody listens; memtrace pauses its own child instead; and a program that
    // has just begun has more to be read than would be waited for.
    let waits = |process: &Process| process.paused_on_change == 0 && process.mappings != 0;
    if processes::traced(cookie.process).is_some_and(waits) {
        hold(cookie.process, change);
    }
    0
}

/// Waits until the loader has caught up.
fn hold(slot: u32, change: u64) {
    // SAFETY: the helper has no preconditions.
    let deadline = unsafe { bpf_ktime_get_ns() } + PATIENCE_NANOSECONDS;
    let mut wait = Wait { slot, change, deadline };
    // SAFETY: `turn` has the signature that `bpf_loop` calls; `wait` outlives the call.
    unsafe { bpf_loop(MAX_TURNS, turn as *mut c_void, (&raw mut wait).cast(), 0) };
}

/// Returns 1 to end the waiting.
extern "C" fn turn(_index: u64, wait: *mut Wait) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let wait = unsafe { &*wait };
    let Some(caught_up) = CAUGHT_UP.get_ptr(wait.slot) else { return 1 };
    // SAFETY: a map value, one aligned word that the loader writes whole.
    let caught_up = unsafe { caught_up.read_volatile() };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    i64::from(caught_up >= wait.change || now >= wait.deadline)
}
