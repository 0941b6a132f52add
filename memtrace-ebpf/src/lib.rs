//! What the kernel programs and the loader agree on, and the logic worth testing on the host.
//!
//! A type lives here if a byte of it crosses the boundary or if its logic runs in the kernel.
#![no_std]

pub mod allocation;
pub mod event;
pub mod frame;
pub mod kill;
pub mod loss;
pub mod mapping;
pub mod mark;
pub mod pages;
pub mod probe;
pub mod process;
pub mod python;
pub mod rule_cache;
pub mod sampling;
pub mod search;
pub mod thread;
pub mod unwind;

/// Declares that a type may cross the boundary as bytes, and pins its size.
macro_rules! crosses_the_boundary {
    ($type:ty, $size:expr) => {
        const _: () = assert!(size_of::<$type>() == $size, "changing the ABI");
        // SAFETY: `repr(C)`, integers only, no padding: every byte pattern is a valid value.
        #[cfg(not(target_arch = "bpf"))]
        unsafe impl aya::Pod for $type {}
    };
}
pub(crate) use crosses_the_boundary;
