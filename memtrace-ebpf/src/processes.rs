//! The traced processes. A probe's cookie names the slot, so no look-up by process id is needed on
//! the allocation path, and a helper that shares the address space (`vfork`) counts as its owner.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap},
};
use memtrace_abi::process::{Process, ProcessTotals, state};

/// Process slots. A process that executes another program takes a new one.
pub(crate) const MAX_PROCESSES: u32 = 1024;

/// What the loader says, by process slot. The kernel only ever turns a slot idle.
#[map]
static PROCESSES: Array<Process> = Array::with_max_entries(MAX_PROCESSES, 0);
/// What is counted, by process slot.
#[map]
static PROCESS_TOTALS: Array<ProcessTotals> = Array::with_max_entries(MAX_PROCESSES, 0);
/// Slots by process id in the initial namespace.
#[map]
static PROCESS_SLOTS: HashMap<u32, u32> = HashMap::with_max_entries(MAX_PROCESSES, 0);

/// The process in a slot, if it is being traced.
pub(crate) fn traced(slot: u32) -> Option<&'static Process> {
    PROCESSES.get(slot).filter(|process| process.state == state::TRACED)
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

/// Ends the tracing of a process id whose address space is gone.
pub(crate) fn retire(process_id: u32, slot: u32) {
    // A failure means that the loader was faster.
    let _ = PROCESS_SLOTS.remove(process_id);
    if let Some(process) = PROCESSES.get_ptr_mut(slot) {
        // SAFETY: a map value, which outlives the program.
        let state = unsafe { &raw mut (*process).state };
        // SAFETY: one aligned word; the loader does not write to a traced slot's state.
        unsafe { state.write_volatile(state::IDLE) };
    }
}
