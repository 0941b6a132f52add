//! The bytes of a process, read without an effect on it or on others.
//!
//! There are two ways, and either does harm where the other does not. `process_vm_readv` pins the
//! pages, for which the kernel first gives the process a copy of its own of each anonymous one that
//! it shares with a fork (since Linux 5.19, `gup_must_unshare` in `mm/internal.h`): its memory would
//! grow by all that is looked at. `/proc/PID/mem` asks a device for what is mapped of it
//! (`__access_remote_vm` in `mm/memory.c`), and devices act on being read.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{LazyLock, OnceLock},
};

use memtrace_abi::mapping::Range;

use super::{super::directory::Directory, PAGE_BYTES, Page};

/// A frame without a page: a device's (`KPF_NOPAGE`, `include/uapi/linux/kernel-page-flags.h`).
const NO_PAGE: u64 = 1 << 20;

/// What the kernel knows of every frame of the machine.
static FRAMES: LazyLock<Option<File>> = LazyLock::new(|| File::open("/proc/kpageflags").ok());

/// How a page can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By `process_vm_readv`: files and shared memory.
    Pinning,
    /// Through `/proc/PID/mem`: anonymous memory.
    Copying,
}

impl Way {
    /// `None` for what is not in memory, for devices, and for what cannot be told from one.
    pub(super) fn to(page: Page) -> Option<Self> {
        if !page.is_present() {
            None
        } else if page.is_file_or_shared() {
            Some(Self::Pinning)
        } else if page.is_exclusive() || is_memory(page.frame()) {
            Some(Self::Copying)
        } else {
            None
        }
    }
}

fn is_memory(frame: u64) -> bool {
    let mut flags = [0; 8];
    let offset = frame * flags.len() as u64;
    let read = FRAMES.as_ref().map(|frames| frames.read_exact_at(&mut flags, offset));
    frame != 0 && matches!(read, Some(Ok(()))) && u64::from_le_bytes(flags) & NO_PAGE == 0
}

/// Bytes to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub range: Range,
    pub way: Way,
}

impl Part {
    fn length(&self) -> usize {
        self.range.end.saturating_sub(self.range.start) as usize
    }
}

/// The pages from `address` on that can be read, those in a row that are read in one way as one.
pub(super) fn parts(address: u64, ways: &[Option<Way>]) -> Vec<Part> {
    let mut start = address;
    let runs = ways.chunk_by(|one, next| one == next).filter_map(|run| {
        let range = Range { start, end: start.saturating_add(run.len() as u64 * PAGE_BYTES) };
        start = range.end;
        run[0].map(|way| Part { range, way })
    });
    runs.collect()
}

/// The memory of the program that a process runs now; empty once it has executed another one.
#[derive(Debug, Default)]
pub(super) struct Bytes(OnceLock<File>);

impl Bytes {
    /// Opens the file, unless that was done.
    pub(super) fn open(&self, directory: &Directory) -> io::Result<&File> {
        if self.0.get().is_none() {
            // Another thread may have been faster.
            let _ = self.0.set(File::open(directory.path("mem"))?);
        }
        Ok(self.0.get().expect("it was opened"))
    }

    /// The bytes of the parts, one behind the other, up to the first that cannot be read.
    pub(super) fn read(
        &self,
        directory: &Directory,
        pid: u32,
        parts: &[Part],
    ) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; parts.iter().map(Part::length).sum()];
        let mut length = 0;
        for part in parts {
            let room = &mut bytes[length..length + part.length()];
            let more = match part.way {
                Way::Pinning => read_pinning(pid, room, part.range.start)?,
                Way::Copying => read_copying(self.open(directory)?, room, part.range.start)?,
            };
            length += more;
            if more < part.length() {
                break;
            }
        }
        bytes.truncate(length);
        // The id belonged to this process all the time if it still does.
        directory.check()?;
        Ok(bytes)
    }
}

fn read_copying(memory: &File, room: &mut [u8], start: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < room.len() {
        match memory.read_at(&mut room[length..], start + length as u64) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.raw_os_error() == Some(libc::EIO) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

fn read_pinning(pid: u32, room: &mut [u8], start: u64) -> io::Result<usize> {
    let local = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    let remote = libc::iovec { iov_base: start as *mut libc::c_void, iov_len: room.len() };
    let (local, remote) = (&raw const local, &raw const remote);
    // SAFETY: `local` is room that nothing else uses; the kernel checks the remote range against the
    // other process and writes nothing there.
    let read = unsafe { libc::process_vm_readv(pid.cast_signed(), local, 1, remote, 1, 0) };
    match usize::try_from(read).map_err(|_| io::Error::last_os_error()) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Ok(0),
        read => read,
    }
}
