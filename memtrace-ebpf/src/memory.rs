//! Reading the memory of the current process. A page that is not resident is an error, never a
//! page fault.

use aya_ebpf::helpers::generated;

/// The value at an address, or `None` if it cannot be read.
pub(crate) fn read<T: Copy>(address: u64) -> Option<T> {
    // SAFETY: the helper fails on an address it cannot read.
    unsafe { aya_ebpf::helpers::bpf_probe_read_user(address as *const T) }.ok()
}

/// Fills `target` from an address. On failure the helper fills it with zeros.
pub(crate) fn read_into<T>(target: &mut T, address: u64) -> Option<()> {
    let size = size_of::<T>() as u32;
    // SAFETY: `target` is `size` bytes that are ours; the helper fails on a bad address.
    let status = unsafe {
        generated::bpf_probe_read_user((&raw mut *target).cast(), size, address as *const _)
    };
    (status == 0).then_some(())
}
