//! What memtrace does to itself so that it outlives those it watches: it is not chosen by the OOM
//! killer, its memory is not taken away, and it needs little.

use std::{fs, io, mem, time::Duration};

/// The least there is: never chosen.
const NEVER: &str = "-1000";
/// `MCL_ONFAULT` (Linux 4.4): lock what is used, instead of everything that is mapped.
const LOCK: libc::c_int = libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT;

/// Makes the kernel choose others.
pub fn refuse_to_be_chosen() -> io::Result<()> {
    fs::write("/proc/self/oom_score_adj", NEVER)
}

/// Keeps every page that memtrace uses in memory.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: the call takes flags and touches no memory of the program.
    if unsafe { libc::mlockall(LOCK) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes the C library give the memory of large blocks back when they are released: whole files are
/// read into such blocks. Left alone it comes to keep tens of MiB for each thread.
pub fn give_memory_back() {
    for (parameter, bytes) in [(libc::M_MMAP_THRESHOLD, 1 << 20), (libc::M_TRIM_THRESHOLD, 4 << 20)]
    {
        // SAFETY: the call takes numbers; if it refuses them, all stays as it is.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

/// CPU time that memtrace has used, and the most bytes that it has had resident.
#[must_use]
pub fn used() -> (Duration, u64) {
    // SAFETY: a structure of numbers, of which all zeros is a value.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the call writes to `usage` and nothing else.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    (time(usage.ru_utime) + time(usage.ru_stime), usage.ru_maxrss.unsigned_abs() * 1024)
}
