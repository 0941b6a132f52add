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
    // SAFETY: an aligned word of a map, which every CPU treats as atomic.
    unsafe { intrinsics::atomic_xadd::<u64, u64, { AcqRel }>(word, amount) }
}

/// Reads.
pub(crate) fn load(word: &u64) -> u64 {
    // SAFETY: an aligned word of a map.
    unsafe { (&raw const *word).read_volatile() }
}

/// Writes `new` if the word is `old`; whether it was.
pub(crate) fn replace(word: &mut u64, old: u64, new: u64) -> bool {
    // SAFETY: as in `add`.
    unsafe { intrinsics::atomic_cxchg::<u64, { AcqRel }, { Relaxed }>(word, old, new) }.1
}
