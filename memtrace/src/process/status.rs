//! What a process is doing and how much it uses, as `/proc/PID/stat` and `status` tell it.

use std::{io, time::Duration};

use super::directory::Directory;

/// `status` has 60 short lines; lists of CPUs and groups can make some of them long.
const STATUS_LIMIT: u64 = 1 << 20;

/// One look at a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Name of the main thread, at most 15 bytes; what is not UTF-8 or not printable is replaced.
    pub comm: String,
    /// State letter of the main thread: `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I`.
    pub state: char,
    /// Threads.
    pub thread_count: u64,
    /// CPU time that all threads have used so far, in user mode and in the kernel.
    pub cpu_time: Duration,
    /// Memory in use.
    pub memory: MemoryUse,
    /// System call filter.
    pub seccomp: Seccomp,
}

/// Memory of a process in bytes. The kernel rounds to KiB and may lag behind by some pages a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// `VmRSS`: the sum of anonymous, file and shared.
    pub resident: u64,
    /// `VmHWM`: the most `resident` there has been.
    pub peak_resident: u64,
    /// `RssAnon`.
    pub anonymous: u64,
    /// `RssFile`.
    pub file: u64,
    /// `RssShmem`: shared memory, tmpfs, and shared anonymous mappings.
    pub shared: u64,
    /// `VmSwap`: anonymous memory that is swapped out.
    pub swapped: u64,
}

/// Which system calls the main thread may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seccomp {
    /// All of them.
    Disabled,
    /// `read`, `write`, `_exit` and `sigreturn`.
    Strict,
    /// What its filters allow.
    Filter,
    /// The kernel does not say.
    Unknown,
}

impl Status {
    /// Whether the main thread is in uninterruptible sleep.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.state == 'D'
    }

    pub(super) fn read(directory: &Directory) -> io::Result<Self> {
        let stat = directory.stat()?;
        let status = directory.read("status", STATUS_LIMIT)?;
        let ticks = stat.utime.saturating_add(stat.stime);
        Ok(Self {
            comm: printable(stat.comm.as_bytes()),
            state: stat.state,
            thread_count: u64::try_from(stat.num_threads).unwrap_or(0),
            cpu_time: ticks_to_time(ticks),
            memory: MemoryUse::parse(&status),
            seccomp: Seccomp::parse(&status),
        })
    }
}

impl MemoryUse {
    /// Fields that are missing, as for a zombie, count as zero.
    fn parse(status: &[u8]) -> Self {
        let bytes = |name| field(status, name).and_then(kib).unwrap_or(0);
        Self {
            resident: bytes("VmRSS"),
            peak_resident: bytes("VmHWM"),
            anonymous: bytes("RssAnon"),
            file: bytes("RssFile"),
            shared: bytes("RssShmem"),
            swapped: bytes("VmSwap"),
        }
    }
}

impl Seccomp {
    fn parse(status: &[u8]) -> Self {
        match field(status, "Seccomp") {
            Some("0") => Self::Disabled,
            Some("1") => Self::Strict,
            Some("2") => Self::Filter,
            _ => Self::Unknown,
        }
    }
}

/// The process that the thread with this directory belongs to.
pub(super) fn process_of_thread(directory: &Directory) -> io::Result<Option<u32>> {
    let status = directory.read("status", STATUS_LIMIT)?;
    Ok(field(&status, "Tgid").and_then(|text| text.parse().ok()))
}

/// The capabilities that the main thread can use, one bit each.
pub(super) fn effective_capabilities(directory: &Directory) -> io::Result<u64> {
    let status = directory.read("status", STATUS_LIMIT)?;
    let set = field(&status, "CapEff").and_then(|text| u64::from_str_radix(text, 16).ok());
    set.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no line CapEff"))
}

/// Text for people: what is not UTF-8 is replaced, and so are control characters.
pub(super) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.replace(char::is_control, "\u{FFFD}")
}

/// The value of the line `name:\tvalue`.
fn field<'a>(status: &'a [u8], name: &str) -> Option<&'a str> {
    let value_of = |line: &'a [u8]| line.strip_prefix(name.as_bytes())?.strip_prefix(b":");
    let value = status.split(|&byte| byte == b'\n').find_map(value_of)?;
    Some(std::str::from_utf8(value).ok()?.trim())
}

/// `1234 kB` in bytes.
fn kib(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

pub(super) fn ticks_to_time(ticks: u64) -> Duration {
    let rate = procfs::ticks_per_second().max(1);
    Duration::from_secs(ticks / rate) + Duration::from_secs(ticks % rate) / rate as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] =
        b"Name:\tVmRSS:\\n\xff\nState:\tS (sleeping)\nTgid:\t42\nVmHWM:\t    1768 kB\n\
        VmRSS:\t    1700 kB\nRssAnon:\t     116 kB\nRssFile:\t18446744073709551615 kB\n\
        an odd line\nSeccomp:\t2\nSeccomp_filters:\t1\n";

    #[test]
    fn one_odd_line_does_not_hide_the_others() {
        let memory = MemoryUse::parse(STATUS);
        assert_eq!(memory.resident, 1700 * 1024);
        assert_eq!(memory.peak_resident, 1768 * 1024);
        assert_eq!(memory.anonymous, 116 * 1024);
        assert_eq!(memory.file, 0, "more bytes than a number can hold");
        assert_eq!(Seccomp::parse(STATUS), Seccomp::Filter);
        assert_eq!(Seccomp::parse(b"Name:\tx\n"), Seccomp::Unknown);
    }

    #[test]
    fn terminals_are_safe_from_names() {
        assert_eq!(printable(b"a\x1b[31m\xff\n"), "a\u{FFFD}[31m\u{FFFD}\u{FFFD}");
    }

    #[test]
    fn ticks_are_hundredths_of_a_second() {
        assert_eq!(ticks_to_time(12_345), Duration::from_millis(123_450));
    }

    #[test]
    fn our_own_status_is_plausible() {
        let directory = Directory::open(std::process::id()).unwrap();
        let status = Status::read(&directory).unwrap();
        let MemoryUse { resident, peak_resident, anonymous, file, shared, .. } = status.memory;
        assert!(resident > 1 << 20 && resident <= peak_resident, "{status:?}");
        assert_eq!(resident, anonymous + file + shared);
        assert!(status.thread_count >= 2 && !status.comm.is_empty(), "{status:?}");
        assert_eq!(process_of_thread(&directory).unwrap(), Some(std::process::id()));
        assert_ne!(effective_capabilities(&directory).unwrap(), 0, "this test needs root");
    }
}
