//! Which pages of a process are in memory, as `/proc/PID/pagemap` tells it. Looking does not touch
//! them.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use super::{super::directory::Directory, PAGE_BYTES, zeros::zeros};

const ENTRY_BYTES: usize = 8;

/// What the kernel knows of one page of a process (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page(u64);

impl Page {
    /// Whether it is in memory and mapped here: reading it neither allocates nor waits for a disk.
    #[must_use]
    pub const fn is_present(self) -> bool {
        self.0 >> 63 & 1 == 1
    }

    /// Whether it is in memory and counts as such. Pages of zeros that were only read do not: the
    /// kernel lends the same one to all.
    #[must_use]
    pub fn is_counted(self) -> bool {
        self.is_present() && !zeros().contains(self)
    }

    /// Whether it is swapped out.
    #[must_use]
    pub const fn is_swapped(self) -> bool {
        self.0 >> 62 & 1 == 1
    }

    /// Whether it belongs to a file or to shared memory, not to this process alone.
    #[must_use]
    pub const fn is_file_or_shared(self) -> bool {
        self.0 >> 61 & 1 == 1
    }

    /// Whether no other process has it mapped; devices' memory never counts as such.
    #[must_use]
    pub const fn is_exclusive(self) -> bool {
        self.0 >> 56 & 1 == 1
    }

    /// The number of its page frame; 0 if it has none or this user may not know.
    #[must_use]
    pub const fn frame(self) -> u64 {
        if self.is_present() { self.0 & ((1 << 55) - 1) } else { 0 }
    }
}

/// The page map of the program that runs now; empty once the process has executed another one.
pub(super) fn open(directory: &Directory) -> io::Result<File> {
    File::open(directory.path("pagemap"))
}

/// The pages from the one that holds `start`, at most `count`; fewer where addresses end.
pub(super) fn read_pages(pagemap: &File, start: u64, count: usize) -> io::Result<Vec<Page>> {
    read_entries(pagemap, start, count)
}

/// As [`read_pages`], of memtrace itself.
pub(super) fn read_own_pages(start: u64, count: usize) -> io::Result<Vec<Page>> {
    read_entries(&File::open("/proc/self/pagemap")?, start, count)
}

fn read_entries(pagemap: &File, start: u64, count: usize) -> io::Result<Vec<Page>> {
    let mut entries = vec![0; count * ENTRY_BYTES];
    let offset = start / PAGE_BYTES * ENTRY_BYTES as u64;
    let length = read_until_end(pagemap, &mut entries, offset)?;
    let (entries, _) = entries[..length].as_chunks();
    Ok(entries.iter().map(|entry| Page(u64::from_le_bytes(*entry))).collect())
}

fn read_until_end(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], offset + length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}
