//! Children of followed processes: each has a slot of its own before its first instruction. Their
//! probes are inherited, so nobody has to attach anything.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use memtrace_abi::{
    event::{Change, NO_SLOT, kind},
    loss::Loss,
};

use crate::{
    faults, given_up,
    lifecycle::{process_of, send},
    losses, mappings, processes,
};

#[raw_tracepoint(tracepoint = "sched_process_fork")]
fn process_fork(ctx: RawTracePointContext) -> i32 {
    if let Some(slot) = processes::slot(processes::current()) {
        follow(slot, ctx.arg(0), ctx.arg(1));
    }
    0
}

/// Takes in a child of the process in a slot, given both threads.
fn follow(slot: u32, parent: u64, child: u64) -> Option<()> {
    let process = processes::recorded(slot).filter(|process| process.followed != 0)?;
    let (parent_id, parent_memory) = process_of(parent)?;
    let (pid, memory) = process_of(child)?;
    if pid == parent_id {
        return None;
    }
    if memory == parent_memory {
        // What it allocates until it executes a program is its parent's.
        if !processes::share(pid, slot) {
            losses::count(Loss::ProcessesFull);
        }
        return None;
    }
    let new = processes::enrol(pid, process, process.state);
    if new == NO_SLOT {
        return None;
    }
    let new = new as u32;
    inherit(slot, new);
    faults::begin(new);
    mappings::inherit(slot, new);
    given_up::inherit(slot, new);
    send(Change { kind: kind::FORK, process: new, pid, paused: 0, address: u64::from(slot) });
    Some(())
}

/// The slot of the program that a process executes; [`NO_SLOT`] if it is not followed.
pub(crate) fn succeed(process_id: u32, slot: u32) -> u64 {
    let Some(process) = processes::recorded(slot) else { return NO_SLOT };
    let Some(unknown) = processes::unknown() else { return NO_SLOT };
    if process.followed == 0 {
        return NO_SLOT;
    }
    let new = processes::enrol(process_id, unknown, process.state);
    if new != NO_SLOT {
        faults::begin(new as u32);
    }
    if new != NO_SLOT && process.paused_on_change != 0 && process.owner == process_id {
        processes::pause_on_change(new as u32);
    }
    new
}

/// Notes what a child has of its parent.
fn inherit(parent: u32, child: u32) {
    let (Some(parent), Some(child)) = (processes::totals(parent), processes::totals(child)) else {
        return;
    };
    // SAFETY: a map value; words are read whole.
    let parent = unsafe { &*parent };
    // SAFETY: a map value; the child has not begun.
    let child = unsafe { &mut *child };
    child.inherited_bytes = parent.live_bytes.wrapping_add(parent.inherited_bytes);
    child.inherited_objects = parent.live_objects.wrapping_add(parent.inherited_objects);
}
