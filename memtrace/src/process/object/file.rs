//! Opens the very file that a process has mapped, whatever its path leads to by now.

use std::{
    fs::{self, File},
    io,
    mem::MaybeUninit,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
};

use memtrace_abi::mapping::Range;

use super::super::{
    directory::{Directory, open_handle, path_of},
    mappings::Mapping,
};

/// Tells one state of one file from all others on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// Device, as `stat` numbers it.
    pub device: u64,
    /// Number on the device.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// When the contents changed last, nanoseconds since 1970.
    pub modified: i128,
}

impl FileIdentity {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: nanoseconds + i128::from(metadata.mtime_nsec()),
        })
    }

    /// As far as this machine knows, without asking a server that may not answer. Whoever has just mapped
    /// the file has asked.
    pub(super) fn at_hand(file: &File) -> io::Result<Self> {
        let mut stat = MaybeUninit::<libc::statx>::zeroed();
        let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC;
        let (file, wanted) = (file.as_raw_fd(), libc::STATX_BASIC_STATS);
        // SAFETY: the empty path ends with a zero, and there is room for the answer.
        match unsafe { libc::statx(file, c"".as_ptr(), flags, wanted, stat.as_mut_ptr()) } {
            // SAFETY: all bits zero are a value, over which the kernel has written.
            0 => Ok(Self::from(unsafe { stat.assume_init() })),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// As bytes, to be part of a key.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let numbers = [self.device, self.inode, self.size].map(u64::to_le_bytes);
        [numbers.as_flattened(), &self.modified.to_le_bytes()].concat()
    }
}

impl From<libc::statx> for FileIdentity {
    fn from(stat: libc::statx) -> Self {
        let libc::statx_timestamp { tv_sec: seconds, tv_nsec: nanoseconds, .. } = stat.stx_mtime;
        Self {
            device: libc::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            size: stat.stx_size,
            modified: i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds),
        }
    }
}

/// Finds the file through the mapping itself, which also leads to deleted files and into other
/// mount namespaces but takes `CAP_SYS_ADMIN` or `CAP_CHECKPOINT_RESTORE`; else by its path.
pub(super) fn open_file(directory: &Directory, mapping: &Mapping) -> io::Result<File> {
    let Range { start, end } = mapping.range;
    let map_file = directory.path(format!("map_files/{start:x}-{end:x}"));
    let handle = match open_handle(&map_file, 0) {
        Ok(handle) => check_same(handle, mapping, true)?,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            check_same(open_by_path(directory, mapping)?, mapping, false)?
        }
        Err(error) => return Err(error),
    };
    reopen(&handle)
}

fn open_by_path(directory: &Directory, mapping: &Mapping) -> io::Result<File> {
    let path = mapping.path.strip_prefix("/").map_err(|_| io::ErrorKind::NotFound)?;
    open_handle(&directory.path("root").join(path), libc::O_NOFOLLOW)
}

/// Between reading the mappings and opening the file, another file may have taken the place.
///
/// btrfs and overlayfs number a file one way in `maps` and another way in `stat`. A file that was
/// found through its mapping is then told by its path, which the kernel writes the same way twice.
fn check_same(handle: File, mapping: &Mapping, by_mapping: bool) -> io::Result<File> {
    let metadata = handle.metadata()?;
    let same_numbers = (metadata.dev(), metadata.ino()) == (mapping.device, mapping.inode);
    if same_numbers || (by_mapping && fs::read_link(path_of(&handle))? == mapping.path_in_proc()) {
        return Ok(handle);
    }
    Err(io::Error::other("another file has taken its place"))
}

/// Only regular files: to open a device may do anything.
fn reopen(handle: &File) -> io::Result<File> {
    if !handle.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(path_of(handle))
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use super::{
        super::super::workload::{
            Workload, mapping_of_malloc, mappings_of, own_directory, without_privileges,
        },
        *,
    };

    #[test]
    fn what_is_at_hand_is_what_the_file_is() {
        let file = tempfile::tempfile().unwrap();
        for length in [0, 4096] {
            file.set_len(length).unwrap();
            assert_eq!(FileIdentity::at_hand(&file).unwrap(), FileIdentity::of(&file).unwrap());
        }
    }

    #[test]
    fn a_path_that_leads_to_another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.so");
        let script = format!(
            "import mmap, os; p = {path:?}; f = open(p, 'w+'); f.truncate(4096); \
             m = mmap.mmap(f.fileno(), 0); os.unlink(p); open(p, 'w').write('another')"
        );
        let python = Workload::python(&script);
        let directory = python.directory();
        let mappings = mappings_of(&directory);
        let mapping = mappings.list.iter().find(|mapping| *mapping.path == *path).unwrap();
        assert_eq!(open_file(&directory, mapping).unwrap().metadata().unwrap().len(), 4096);
        let other = open_by_path(&directory, mapping).unwrap();
        assert!(check_same(other, mapping, false).is_err());
    }

    #[test]
    fn without_privileges_the_path_leads_to_the_file() {
        let (_, mapping) = mapping_of_malloc();
        let wanted = mapping.clone();
        let (file, map_files) = without_privileges(move || {
            let directory = own_directory();
            let Range { start, end } = wanted.range;
            let map_file = directory.path(format!("map_files/{start:x}-{end:x}"));
            (open_file(&directory, &wanted).unwrap(), open_handle(&map_file, 0))
        });
        assert_eq!(map_files.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let identity = FileIdentity::of(&file).unwrap();
        assert_eq!((identity.device, identity.inode), (mapping.device, mapping.inode));
    }

    #[test]
    fn another_file_at_the_same_place_and_devices_are_refused() {
        let (_, mut mapping) = mapping_of_malloc();
        mapping.inode += 1;
        mapping.path = Arc::from(Path::new("/another"));
        assert!(open_file(&own_directory(), &mapping).is_err());
        let device = open_handle(Path::new("/dev/zero"), 0).unwrap();
        assert!(reopen(&device).is_err());
    }
}
