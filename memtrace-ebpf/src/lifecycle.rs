//! What happens to traced processes besides allocation: they end, execute another program. Rare,
//! so each is an event for the loader.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel, generated::bpf_send_signal},
    macros::{map, raw_tracepoint},
    maps::{Array, LruHashMap, RingBuf},
    programs::RawTracePointContext,
};
use aya_log_ebpf::{debug, warn};
use memtrace_abi::{
    event::{Change, NO_SLOT, kind},
    loss::Loss,
};

use crate::{family, losses, processes, threads};

/// Events for the loader.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 22, 0);
/// Offsets of `signal`, `real_parent`, `tgid` and `mm` in `task_struct`, and of `live` and `flags` in
/// `signal_struct`, from BTF.
#[map]
static TASK_OFFSETS: Array<[u64; 6]> = Array::with_max_entries(1, 0);
/// Process id of the loader.
#[map]
static LOADER: Array<u32> = Array::with_max_entries(1, 0);
/// 1: the loader wants to hear of every program that begins.
#[map]
static SEARCHES: Array<u32> = Array::with_max_entries(1, 0);
/// Pages of code that were reported as unmapped, so that each is reported once.
#[map]
static REPORTED: LruHashMap<[u64; 2], u32> = LruHashMap::with_max_entries(4096, 0);

/// Pauses a process that memtrace itself started.
const SIGSTOP: u32 = 19;
const SIGCONT: u32 = 18;
/// A signal is ending the process (include/linux/sched/signal.h).
const SIGNAL_GROUP_EXIT: u32 = 4;
const PAGE_BITS: u32 = 12;

#[raw_tracepoint(tracepoint = "sched_process_exec")]
fn process_exec(ctx: RawTracePointContext) -> i32 {
    let process_id = processes::current();
    if let Some(slot) = processes::slot(process_id) {
        threads::forget_current();
        execute(process_id, slot);
        debug!(&ctx, "process {} executes another program", process_id);
    } else if SEARCHES.get(0).is_some_and(|searches| *searches != 0) {
        let (kind, pid, address) = (kind::PROGRAM, process_id, NO_SLOT);
        send(Change { kind, pid, address, ..Change::default() });
    }
    0
}

/// The process gets a new slot, if it is followed, and keeps recording there.
fn execute(process_id: u32, slot: u32) {
    let next = family::succeed(process_id, slot);
    if processes::is_owner(process_id, slot) {
        report(kind::EXEC, slot, next);
        processes::end(slot);
    } else if next != NO_SLOT {
        report(kind::SPAWN, next as u32, u64::from(slot));
    }
    if next == NO_SLOT {
        processes::forget(process_id);
    }
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
fn thread_exit(ctx: RawTracePointContext) -> i32 {
    threads::forget_current();
    let process_id = processes::current();
    let Some(slot) = processes::slot(process_id) else { return 0 };
    match threads_left() {
        Some(0) => {
            processes::forget(process_id);
            if processes::is_owner(process_id, slot) {
                processes::end(slot);
                report(kind::EXIT, slot, 0);
            }
        }
        Some(_) => {}
        None => warn!(&ctx, "process {}: threads cannot be counted", process_id),
    }
    0
}

/// Threads of the current process that have not begun to exit.
fn threads_left() -> Option<u32> {
    let [signal, _, _, _, live, _] = *TASK_OFFSETS.get(0)?;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    read(read::<u64>(task + signal)? + live)
}

/// Whether the current process is a child of the loader, and the loader is not being killed: only
/// then will somebody let it go on when it is paused.
fn is_attended() -> Option<bool> {
    let [signal, real_parent, tgid, _, _, flags] = *TASK_OFFSETS.get(0)?;
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let parent: u64 = read(task + real_parent)?;
    let parent_id: u32 = read(parent + tgid)?;
    let parent_flags: u32 = read(read::<u64>(parent + signal)? + flags)?;
    Some(parent_id == *LOADER.get(0)? && parent_flags & SIGNAL_GROUP_EXIT == 0)
}

/// The process id and the memory of a thread.
pub(crate) fn process_of(task: u64) -> Option<(u32, u64)> {
    let [_, _, tgid, mm, _, _] = *TASK_OFFSETS.get(0)?;
    Some((read(task + tgid)?, read(task + mm)?))
}

/// A field of a kernel structure.
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper fails on an address it cannot read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// A stack led to code that no known object covers.
pub(crate) fn report_unmapped(slot: u32, pc: u64) {
    let page = [u64::from(slot), pc >> PAGE_BITS];
    if REPORTED.insert(page, 1, u64::from(BPF_NOEXIST)).is_ok() {
        report(kind::UNMAPPED, slot, pc);
    }
}

pub(crate) fn report(kind: u32, slot: u32, address: u64) {
    let pauses = kind == self::kind::EXEC || kind == self::kind::LIBRARIES;
    let paused = pauses
        && processes::recorded(slot).is_some_and(|process| process.paused_on_change != 0)
        && is_attended() == Some(true)
        // SAFETY: the helper has no preconditions.
        && unsafe { bpf_send_signal(SIGSTOP) } == 0;
    let pid = processes::current();
    let change = Change { kind, process: slot, pid, paused: u32::from(paused), address };
    if !send(change) && paused {
        // Nobody will hear of the pause.
        // SAFETY: the helper has no preconditions.
        unsafe { bpf_send_signal(SIGCONT) };
    }
}

/// Whether there was room for it.
pub(crate) fn send(change: Change) -> bool {
    if EVENTS.output::<Change>(&change, 0).is_err() {
        losses::count(Loss::EventsFull);
        return false;
    }
    true
}
