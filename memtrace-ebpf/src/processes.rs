//! The traced processes. The cookie of a probe of one process names its slot, so no look-up by
//! process id is needed on the allocation path. A helper that shares the address space (`vfork`)
//! counts as its owner.

use aya_ebpf::{
    bindings::BPF_ANY,
    helpers::{bpf_get_current_pid_tgid, generated::bpf_get_attach_cookie},
    macros::map,
    maps::{Array, HashMap, Queue},
};
use memtrace_abi::{
    event::NO_SLOT,
    loss::Loss,
    probe::Cookie,
    process::{MAX_PROCESSES, Process, ProcessTotals, state},
};

use crate::losses;

/// What the loader says, by process slot. The kernel only ever turns a slot idle.
#[map]
static PROCESSES: Array<Process> = Array::with_max_entries(MAX_PROCESSES, 0);
/// What is counted, by process slot.
#[map]
static PROCESS_TOTALS: Array<ProcessTotals> = Array::with_max_entries(MAX_PROCESSES, 0);
/// Slots by process id in the initial namespace. Those that share one for a while have an entry each.
#[map]
static PROCESS_SLOTS: HashMap<u32, u32> = HashMap::with_max_entries(2 * MAX_PROCESSES, 0);
/// Slots that nobody has.
#[map]
static FREE_SLOTS: Queue<u32> = Queue::with_max_entries(MAX_PROCESSES, 0);
/// One that nothing is known of.
#[map]
static NEW_PROCESS: Array<Process> = Array::with_max_entries(1, 0);

/// The process in a slot, if it is being traced.
pub(crate) fn traced(slot: u32) -> Option<&'static Process> {
    PROCESSES.get(slot).filter(|process| process.state == state::TRACED)
}

/// The process in a slot, if at least its mappings and pages are being recorded.
pub(crate) fn recorded(slot: u32) -> Option<&'static Process> {
    let is_over = |state| state == state::IDLE || state == state::FROZEN;
    PROCESSES.get(slot).filter(|process| !is_over(process.state))
}

/// The counters of a slot; shared between CPUs.
pub(crate) fn totals(slot: u32) -> Option<*mut ProcessTotals> {
    PROCESS_TOTALS.get_ptr_mut(slot)
}

/// The slot of a process id, if it is being traced.
pub(crate) fn slot(process_id: u32) -> Option<u32> {
    // SAFETY: a stale slot is harmless: whoever uses it checks the slot's state.
    unsafe { PROCESS_SLOTS.get(process_id) }.copied()
}

/// The current process's id in the initial namespace.
pub(crate) fn current() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// The cookie of the probe that is being hit, with the slot of the process.
pub(crate) fn cookie(context: *mut core::ffi::c_void) -> Cookie {
    // SAFETY: `context` is the program's own.
    let cookie = Cookie::unpack(unsafe { bpf_get_attach_cookie(context) });
    if cookie.process != Cookie::CURRENT {
        return cookie;
    }
    // There is no slot with the number that stands for none.
    Cookie { process: slot(current()).unwrap_or(Cookie::CURRENT), ..cookie }
}

/// Gives a process a slot of its own, which begins as a copy of `origin`, in a [`state`]; [`NO_SLOT`] without room,
/// which is counted. Not inlined, and no `Option`: the verifier finds fault with how it would be
/// kept.
#[inline(never)]
pub(crate) fn enrol(process_id: u32, origin: &Process, state: u32) -> u64 {
    if let Some(slot) = try_enrol(process_id, origin, state) {
        return u64::from(slot);
    }
    losses::count(Loss::ProcessesFull);
    NO_SLOT
}

fn try_enrol(process_id: u32, origin: &Process, state: u32) -> Option<u32> {
    let slot = FREE_SLOTS.pop().ok()??;
    PROCESSES.set(slot, origin, u64::from(BPF_ANY)).ok()?;
    let process = PROCESSES.get_ptr_mut(slot)?;
    // SAFETY: a map value; nobody else knows the slot yet.
    let process = unsafe { &mut *process };
    process.owner = process_id;
    process.paused_on_change = 0;
    process.followed = 1;
    process.state = state;
    PROCESS_SLOTS.insert(process_id, slot, u64::from(BPF_ANY)).ok()?;
    Some(slot)
}

/// A process of which nothing is known.
pub(crate) fn unknown() -> Option<&'static Process> {
    NEW_PROCESS.get(0)
}

/// Pauses the process in a slot whenever its code changes.
pub(crate) fn pause_on_change(slot: u32) {
    if let Some(process) = PROCESSES.get_ptr_mut(slot) {
        // SAFETY: a map value, which outlives the program.
        let paused = unsafe { &raw mut (*process).paused_on_change };
        // SAFETY: one aligned word of a slot that its process has just been given.
        unsafe { paused.write_volatile(1) };
    }
}

/// Lets a process id count as the owner of a slot.
pub(crate) fn share(process_id: u32, slot: u32) -> bool {
    PROCESS_SLOTS.insert(process_id, slot, u64::from(BPF_ANY)).is_ok()
}

/// Forgets a process id.
pub(crate) fn forget(process_id: u32) {
    // A failure means that the loader was faster.
    let _ = PROCESS_SLOTS.remove(process_id);
}

/// Whether a slot is that of this very process, rather than of one whose memory it shares.
pub(crate) fn is_owner(process_id: u32, slot: u32) -> bool {
    PROCESSES.get(slot).is_some_and(|process| process.owner == process_id)
}

/// Ends the tracing of a slot whose address space is gone. A frozen one stays frozen.
pub(crate) fn end(slot: u32) {
    become_state(slot, state::IDLE);
}

/// Ends the recording of a process that is being killed; whether that is news.
pub(crate) fn freeze(slot: u32) -> bool {
    become_state(slot, state::FROZEN)
}

/// Changes the state of a slot; whether it was not frozen, which it would stay.
fn become_state(slot: u32, new: u32) -> bool {
    let Some(process) = PROCESSES.get_ptr_mut(slot) else { return false };
    // SAFETY: a map value, which outlives the program.
    let state = unsafe { &raw mut (*process).state };
    // SAFETY: one aligned word.
    let old = unsafe { state.read_volatile() };
    if old == state::FROZEN {
        return false;
    }
    // SAFETY: the same; the loader does not write to a traced slot's state.
    unsafe { state.write_volatile(new) };
    true
}
