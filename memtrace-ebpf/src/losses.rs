//! Per-CPU counters of what could not be recorded.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use memtrace_abi::loss::Loss;

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

/// Ends a probe. The kernel ignores what a uprobe returns, so a loss is only counted.
pub(crate) fn exit(outcome: Result<(), Loss>) -> u32 {
    if let Err(loss) = outcome {
        count(loss);
    }
    0
}
