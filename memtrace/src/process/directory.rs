//! The directory of one process in `/proc`. It stays with the process it was opened for: once that
//! is gone every read fails, also when the id is in use again.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::OnceLock,
};

use procfs::{FromRead as _, process::Stat};

/// `stat` is one line of 52 numbers and a name of at most 64 bytes.
const STAT_LIMIT: u64 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Directory {
    handle: File,
    /// Opened when it is first needed, and read many times.
    comm: OnceLock<File>,
}

impl Directory {
    pub(super) fn open(pid: u32) -> io::Result<Self> {
        let handle = open_handle(Path::new(&format!("/proc/{pid}")), libc::O_DIRECTORY)?;
        Ok(Self { handle, comm: OnceLock::new() })
    }

    /// A path to the entry that is valid within memtrace while the directory is open.
    pub(super) fn path(&self, entry: impl AsRef<Path>) -> PathBuf {
        path_of(&self.handle).join(entry)
    }

    /// The first `limit` bytes of the entry.
    pub(super) fn read(&self, entry: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(entry))?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        parse_stat(&self.read("stat", STAT_LIMIT)?)
    }

    /// `Ok` while the process id belongs to this process, dead but not collected included.
    pub(super) fn check(&self) -> io::Result<()> {
        // Nothing is told faster, and nothing at all of a process that is gone.
        if self.comm.get().is_none() {
            // Another thread may have been faster.
            let _ = self.comm.set(File::open(self.path("comm"))?);
        }
        let comm = self.comm.get().expect("it was opened");
        comm.read_at(&mut [0], 0).map(drop)
    }
}

/// The line of a process or of a thread.
pub(super) fn parse_stat(line: &[u8]) -> io::Result<Stat> {
    Stat::from_read(line)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))
}

/// Opens the place without opening the thing: no device wakes up, no pipe waits.
pub(super) fn open_handle(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH | flags).open(path)
}

/// A path to an open file that is valid within memtrace while the file is open.
pub(super) fn path_of(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
