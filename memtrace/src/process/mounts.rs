//! Which devices are file systems in memory, as `/proc/PID/mountinfo` tells it: pages of their
//! files count as shared memory.

use std::{collections::HashSet, io};

use super::directory::Directory;

/// A hundred thousand mounts.
const LIMIT: u64 = 16 << 20;

/// File systems whose files have no other place than memory and swap. All are shmem to the kernel
/// (mm/shmem.c, drivers/base/devtmpfs.c).
const IN_MEMORY: [&[u8]; 2] = [b"tmpfs", b"devtmpfs"];

/// The mounts that a process sees.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts {
    in_memory: HashSet<u64>,
}

impl Mounts {
    pub(super) fn read(directory: &Directory) -> io::Result<Self> {
        Ok(Self::parse(&directory.read("mountinfo", LIMIT)?))
    }

    pub(super) fn parse(text: &[u8]) -> Self {
        let lines = text.split(|&byte| byte == b'\n');
        Self { in_memory: lines.filter_map(device_in_memory).collect() }
    }

    /// Whether files on the device are in memory.
    pub(super) fn is_in_memory(&self, device: u64) -> bool {
        self.in_memory.contains(&device)
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE OPTIONS` (proc_pid_mountinfo(5)).
fn device_in_memory(line: &[u8]) -> Option<u64> {
    let mut words = line.split(|&byte| byte == b' ');
    let device = std::str::from_utf8(words.nth(2)?).ok()?;
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    let (major, minor) = device.split_once(':')?;
    let device = libc::makedev(major.parse().ok()?, minor.parse().ok()?);
    IN_MEMORY.contains(&kind).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_file_systems_in_memory_count() {
        let mounts = Mounts::parse(
            b"25 24 0:23 / /dev/shm rw,relatime shared:3 master:1 - tmpfs tmpfs rw\n\
            27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            24 27 0:6 / /dev rw - devtmpfs devtmpfs rw\nodd\n1 2 x:y / / rw - tmpfs t rw\n",
        );
        let is_in_memory = |major, minor| mounts.is_in_memory(libc::makedev(major, minor));
        assert!(is_in_memory(0, 23) && is_in_memory(0, 6));
        assert!(!is_in_memory(254, 0) && !is_in_memory(0, 0));
    }
}
