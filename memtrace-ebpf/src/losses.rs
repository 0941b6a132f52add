//! Per-CPU counters of what could not be recorded.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use memtrace_abi::loss::Loss;

/// `E2BIG`
const TOO_BIG: i32 = 7;

/// Counters by loss. A preempted increment may be lost; a loss is never invented.
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// Adds one.
pub(crate) fn count(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        // SAFETY: the slot belongs to this CPU.
        unsafe { *counter += 1 };
    }
}

/// Whether a map was full. Else there was no memory at hand, as now and then in a page fault: there
/// will be next time.
pub(crate) fn is_full(outcome: Result<(), i32>) -> bool {
    outcome == Err(-TOO_BIG)
}

/// Ends a probe. The kernel ignores what a uprobe returns, so a loss is only counted.
pub(crate) fn exit(outcome: Result<(), Loss>) -> u32 {
    if let Err(loss) = outcome {
        count(loss);
    }
    0
}
