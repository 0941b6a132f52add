//! Atomic operations on words of maps. `core` offers none for BPF, because old versions of it had
//! none; every kernel with `bpf_loop` has them.

use core::intrinsics::{self, AtomicOrdering::AcqRel, AtomicOrdering::Relaxed};

/// Adds.
pub(crate) fn add(word: &mut u64, amount: u64) {
    // SAFETY: an aligned word of a map, which every CPU treats as atomic.
    unsafe { intrinsics::atomic_xadd::<u64, u64, { Relaxed }>(word, amount) };
}

/// Adds and returns the value before.
pub(crate) fn fetch_add(word: &mut u64, amount: u64) -> u64 {
    // Not relaxed: LLVM 22 then drops the returned value.
    // SAFETY: as in `add`.
    unsafe { intrinsics::atomic_xadd::<u64, u64, { AcqRel }>(word, amount) }
}

/// Subtracts.
pub(crate) fn subtract(word: &mut u64, amount: u64) {
    add(word, amount.wrapping_neg());
}

/// Turns 0 into 1; whether it was 0.
pub(crate) fn acquire(word: &mut u64) -> bool {
    // SAFETY: as in `add`.
    unsafe { intrinsics::atomic_cxchg::<u64, { AcqRel }, { Relaxed }>(word, 0, 1) }.1
}

/// Turns 1 back into 0.
pub(crate) fn release(word: &mut u64) {
    // SAFETY: as in `add`.
    unsafe { intrinsics::atomic_xchg::<u64, { AcqRel }>(word, 0) };
}
