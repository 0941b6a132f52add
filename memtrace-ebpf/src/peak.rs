//! Keeps the composition of the high-water mark while processes and stacks change: the exchanges
//! that [`mark`] describes, each tried until no other thread comes in between.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_ktime_get_boot_ns, bpf_loop};
use memtrace_abi::{allocation::Totals, mark, process::ProcessTotals};

use crate::atomic;

/// Turns of the loop. Four are needed; each further one is a thread that was faster.
const MAX_TURNS: u32 = 512;

/// What is still to be done. The value is [`Change::left`].
mod left {
    pub(super) const NOTHING: u64 = 0;
    pub(super) const PROCESS_OBJECTS: u64 = 1;
    pub(super) const STACK_OBJECTS: u64 = 2;
    pub(super) const STACK_BYTES: u64 = 3;
    pub(super) const EVERYTHING: u64 = 4;
}

/// A change of live memory. `bpf_loop` passes it to each turn; the verifier wants it on the
/// program's stack.
struct Change {
    process: *mut ProcessTotals,
    totals: *mut Totals,
    bytes: i64,
    objects: i64,
    /// The mark that it came after.
    epoch: u64,
    left: u64,
}

/// Notes a change of live memory; whether the peak is certain after it.
pub(crate) fn note(
    process: &mut ProcessTotals,
    totals: &mut Totals,
    bytes: i64,
    objects: i64,
) -> bool {
    let (process, totals) = (&raw mut *process, &raw mut *totals);
    let left = left::EVERYTHING;
    let mut change = Change { process, totals, bytes, objects, epoch: 0, left };
    // SAFETY: `turn` has the signature that `bpf_loop` calls; `change` outlives the call.
    unsafe { bpf_loop(MAX_TURNS, turn as *mut c_void, (&raw mut change).cast(), 0) };
    change.left == left::NOTHING
}

/// Tries the next thing to be done; returns 1 to end.
extern "C" fn turn(_index: u64, change: *mut Change) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let change = unsafe { &mut *change };
    // SAFETY: map values, which outlive the program; words are read and written whole.
    let (process, totals) = unsafe { (&mut *change.process, &mut *change.totals) };
    match change.left {
        left::EVERYTHING => return advance(process, change),
        left::STACK_BYTES => note_behind(&mut totals.bytes_behind, change.bytes, change),
        left::STACK_OBJECTS => note_behind(&mut totals.objects_behind, change.objects, change),
        _ => note_behind(&mut process.objects_behind, change.objects, change),
    }
    i64::from(change.left == left::NOTHING)
}

fn advance(process: &mut ProcessTotals, change: &mut Change) -> i64 {
    let word = atomic::load(&process.mark);
    let step = mark::step(word, change.bytes);
    if step.word != word && !atomic::replace(&mut process.mark, word, step.word) {
        return 0;
    }
    if step.is_mark {
        // SAFETY: the helper has no preconditions.
        process.peak_time = unsafe { bpf_ktime_get_boot_ns() };
        change.left = left::NOTHING;
        return 1;
    }
    change.epoch = mark::epoch(step.word);
    change.left = left::STACK_BYTES;
    i64::from(mark::is_exhausted(step.word))
}

fn note_behind(word: &mut u64, amount: i64, change: &mut Change) {
    let old = atomic::load(word);
    let new = mark::note(old, change.epoch, amount);
    if new == old || atomic::replace(word, old, new) {
        change.left -= 1;
    }
}
