//! The machine that memtrace runs on.

use std::{fs, time::Duration};

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

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
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
