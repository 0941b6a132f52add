//! The machine that memtrace runs on.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, BorrowedFd},
    time::Duration,
};

use super::{groups::GroupMemory, pressure};

/// Its name.
#[must_use]
pub fn name() -> String {
    read("/proc/sys/kernel/hostname")
}

/// The release of its kernel.
#[must_use]
pub fn kernel() -> String {
    read("/proc/sys/kernel/osrelease")
}

/// What the kernel tells of something that memtrace has open (`/proc/PID/fdinfo`).
pub fn about_open(descriptor: BorrowedFd<'_>) -> io::Result<String> {
    fs::read_to_string(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The memory of the machine, as if it were that of a group: its limit is what there is.
#[must_use]
pub fn memory() -> Option<GroupMemory> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
        Some((name.to_owned(), kib.saturating_mul(1024)))
    };
    let stat: Vec<_> = read("/proc/meminfo").lines().filter_map(line).collect();
    let bytes = |name| stat.iter().find(|(known, _)| known == name).map(|(_, bytes)| *bytes);
    let total = bytes("MemTotal")?;
    let usage = total.saturating_sub(bytes("MemAvailable")?);
    let stalled = pressure::of_machine();
    Some(GroupMemory { limit: Some(total), usage, stalled, stat, ..GroupMemory::default() })
}

/// The kernel's clock that also counts while the machine sleeps.
#[must_use]
pub fn time_since_boot() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `now` and nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_name_and_a_past() {
        assert!(!name().is_empty());
        assert!(kernel().starts_with(|digit: char| digit.is_ascii_digit()));
        assert!(time_since_boot() > Duration::ZERO);
    }
}
