//! Concessions to the verifier.

use core::arch::asm;

use aya_ebpf::{macros::map, maps::Array};

/// A zero that the verifier does not know.
#[map]
static ZERO: Array<u64> = Array::with_max_entries(1, 0);

/// An index below `SIZE`, a power of two, unchanged if it is already.
///
/// The verifier follows a mask, on every kernel; it does not follow every comparison. Where the
/// mask changes nothing the compiler would drop it, so it must not know.
pub(crate) fn within<const SIZE: usize>(mut index: usize) -> usize {
    // SAFETY: the instruction changes nothing.
    unsafe { asm!("{0} = {0}", inout(reg) index, options(nomem, nostack, pure)) };
    index & (SIZE - 1)
}

/// The same value, of which the verifier forgets how it was computed. Without this it goes through
/// everything that follows once for each way in which the value may have come about.
pub(crate) fn forget(value: u64) -> u64 {
    value ^ ZERO.get(0).copied().unwrap_or_default()
}
