//! An array map as ordinary memory of this process.

use std::{io, os::fd::AsRawFd as _, ptr};

use anyhow::{Context as _, Result};
use aya::{Pod, maps::MapData};

/// The values of a mappable array map. Writes are seen by the kernel programs at once.
pub(super) struct SharedArray<T> {
    values: *mut T,
    len: usize,
    bytes: usize,
}

// SAFETY: the memory belongs to this value alone, as far as this process goes.
unsafe impl<T> Send for SharedArray<T> {}

impl<T: Pod> SharedArray<T> {
    /// Maps `map`, each of whose entries holds `values_per_entry` values; the kernel rounds
    /// entries up to 8 bytes, so the values fill them.
    pub(super) fn open(map: &MapData, values_per_entry: usize) -> Result<Self> {
        let entries = map.info().context("read the map's size")?.max_entries() as usize;
        let len = entries * values_per_entry;
        let page = 4096;
        let bytes = (len * size_of::<T>()).next_multiple_of(page);
        let fd = map.fd();
        // SAFETY: a new mapping of a file that stays what it is.
        let values = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                std::os::fd::AsFd::as_fd(fd).as_raw_fd(),
                0,
            )
        };
        if values == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap");
        }
        Ok(Self { values: values.cast(), len, bytes })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Writes one value.
    pub(super) fn set(&mut self, index: usize, value: T) {
        assert!(index < self.len, "the caller checks for room");
        // SAFETY: within the mapping, as was just checked.
        let place = unsafe { self.values.add(index) };
        // SAFETY: aligned, as the mapping is; volatile, because the kernel reads it.
        unsafe { place.write_volatile(value) };
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more.
        unsafe { libc::munmap(self.values.cast(), self.bytes) };
    }
}
