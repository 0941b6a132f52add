//! Atomic operations on words of maps. `core` offers none for BPF, because old processors of it
//! had none; every kernel with `bpf_loop` has them.

use core::intrinsics::{self, AtomicOrdering::Relaxed};

/// Adds and returns the value before.
pub(crate) fn add(word: &mut u64, amount: u64) -> u64 {
    // SAFETY: an aligned word, exclusively borrowed as far as this CPU goes.
    unsafe { intrinsics::atomic_xadd::<u64, u64, { Relaxed }>(word, amount) }
}

/// Subtracts.
pub(crate) fn subtract(word: &mut u64, amount: u64) {
    add(word, amount.wrapping_neg());
}

/// Turns 0 into 1; whether it was 0.
pub(crate) fn acquire(word: &mut u64) -> bool {
    use intrinsics::AtomicOrdering::SeqCst;
    // SAFETY: as in `add`.
    unsafe { intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(word, 0, 1) }.1
}

/// Turns 1 back into 0.
pub(crate) fn release(word: &mut u64) {
    use intrinsics::AtomicOrdering::SeqCst;
    // SAFETY: as in `add`.
    unsafe { intrinsics::atomic_xchg::<u64, { SeqCst }>(word, 0) };
}
