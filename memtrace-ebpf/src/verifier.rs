//! Concessions to the verifier.

use core::arch::asm;

/// An index below `SIZE`, a power of two, unchanged if it is already.
///
/// The verifier follows a mask, on every kernel; it does not follow every comparison. Where the
/// mask changes nothing the compiler would drop it, so it must not know.
pub(crate) fn within<const SIZE: usize>(mut index: usize) -> usize {
    // SAFETY: the instruction changes nothing.
    unsafe { asm!("{0} = {0}", inout(reg) index, options(nomem, nostack, pure)) };
    index & (SIZE - 1)
}
