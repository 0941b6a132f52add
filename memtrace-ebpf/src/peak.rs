//! Keeps the composition of the high-water mark while processes and stacks change: the exchanges
//! that [`mark`] describes, each tried until no other thread comes in between.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use memtrace_abi::{
    allocation::Totals,
    mark::{self, Step},
    process::ProcessTotals,
};

use crate::{atomic, verifier::forget};

/// Tries of an exchange. Each that fails is a thread that was faster; a constant, because the
/// verifier has to see the loop end.
const TRIES: usize = 8;

/// Notes a change of live memory; whether the peak is certain after it.
pub(crate) fn note(
    process: &mut ProcessTotals,
    totals: &mut Totals,
    bytes: i64,
    objects: i64,
) -> bool {
    let Some(Step { word, is_mark }) = advance(&mut process.mark, bytes) else { return false };
    if is_mark {
        // SAFETY: the helper has no preconditions.
        process.peak_time = unsafe { bpf_ktime_get_boot_ns() };
        return true;
    }
    let word = forget(word);
    let epoch = mark::epoch(word);
    let of_stack = note_behind(&mut totals.bytes_behind, epoch, bytes)
        && note_behind(&mut totals.objects_behind, epoch, objects);
    let of_process = note_behind(&mut process.objects_behind, epoch, objects);
    of_stack && of_process && !mark::is_exhausted(word)
}

fn advance(word: &mut u64, bytes: i64) -> Option<Step> {
    for _ in 0..TRIES {
        let old = atomic::load(word);
        let step = mark::step(old, bytes);
        if step.word == old || atomic::replace(word, old, step.word) {
            return Some(step);
        }
    }
    None
}

#[expect(clippy::inline_always, reason = "Linux 6.1 counts 32 bytes of stack for any function")]
#[inline(always)]
fn note_behind(word: &mut u64, epoch: u64, amount: i64) -> bool {
    for _ in 0..TRIES {
        let old = atomic::load(word);
        let new = mark::note(old, epoch, amount);
        if new == old || atomic::replace(word, old, new) {
            return true;
        }
    }
    false
}
