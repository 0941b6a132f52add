//! The kernel's event of a page fault, put on the threads of one process: no other pays for it.
//!
//! There are two events for each thread, of which one is on. The first tells of every fault, and is
//! exact. The second tells of so many a second that their cost is bounded, however many there are;
//! what it costs in between is a counter.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::{Ebpf, programs::PerfEvent};

pub(super) const PROGRAM: &str = "page_touched";

/// Faults that are told of each second by a thread that has too many of them.
const SAMPLES_PER_SECOND: u64 = 500;

/// `struct perf_event_attr` as of Linux 2.6.32: all that is needed.
const ATTRIBUTES_BYTES: u64 = 72;
const SOFTWARE: u64 = 1;
const PAGE_FAULTS: u64 = 2;
/// Bits of the flags in `struct perf_event_attr`.
const DISABLED: u64 = 1;
const INHERIT: u64 = 1 << 1;
const FREQUENCY: u64 = 1 << 10;
const INHERIT_THREAD: u64 = 1 << 35;
const CLOSE_ON_EXEC: u64 = 8;
const ENABLE: libc::c_ulong = 0x2400;
const DISABLE: libc::c_ulong = 0x2401;
const SET_PROGRAM: libc::c_ulong = 0x4004_2408;

/// The events of a process's threads; they are taken off when this is dropped.
pub struct Faults {
    threads: BTreeMap<u32, Events>,
    /// What inherits them.
    inheritance: u64,
    is_sampled: bool,
}

/// Of one thread, and of all that it creates.
struct Events {
    exact: OwnedFd,
    sampled: OwnedFd,
}

impl Faults {
    /// None yet. To follow is to let children inherit them, not only threads.
    #[must_use]
    pub fn new(follows: bool) -> Self {
        let inheritance = if follows { INHERIT } else { INHERIT | INHERIT_THREAD };
        Self { threads: BTreeMap::new(), inheritance, is_sampled: false }
    }

    /// Puts the events on threads that do not have them yet. A thread that has ended is left out.
    pub(super) fn watch(&mut self, ebpf: &Ebpf, threads: &[u32]) -> Result<()> {
        let program: &PerfEvent = ebpf
            .program(PROGRAM)
            .with_context(|| format!("no program {PROGRAM} in the object"))?
            .try_into()?;
        let program = program.fd()?.as_fd();
        for thread in threads {
            if self.threads.contains_key(thread) {
                continue;
            }
            match Events::open(*thread, program, self.inheritance) {
                Ok(events) => {
                    events.switch(self.is_sampled);
                    self.threads.insert(*thread, events);
                }
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("watch page faults of {thread}"));
                }
            }
        }
        Ok(())
    }

    /// Tells of some faults only, or of every one again.
    pub fn sample(&mut self, is_sampled: bool) {
        if self.is_sampled == is_sampled {
            return;
        }
        self.is_sampled = is_sampled;
        for events in self.threads.values() {
            events.switch(is_sampled);
        }
    }
}

impl Events {
    fn open(thread: u32, program: BorrowedFd<'_>, inheritance: u64) -> io::Result<Self> {
        Ok(Self {
            exact: open(thread, 1, inheritance, program)?,
            sampled: open(thread, SAMPLES_PER_SECOND, FREQUENCY | inheritance, program)?,
        })
    }

    fn switch(&self, is_sampled: bool) {
        let (on, off) =
            if is_sampled { (&self.sampled, &self.exact) } else { (&self.exact, &self.sampled) };
        for (event, request) in [(off, DISABLE), (on, ENABLE)] {
            // An event of a thread that has ended can be switched as any other.
            // SAFETY: the descriptor is open; the request has no argument.
            unsafe { libc::ioctl(event.as_raw_fd(), request, 0) };
        }
    }
}

/// Opens an event that is off.
fn open(thread: u32, period: u64, flags: u64, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let kind = SOFTWARE | ATTRIBUTES_BYTES << 32;
    let flags = flags | DISABLED;
    let attributes = [kind, PAGE_FAULTS, period, 0, 0, flags, 0, 0, 0];
    let (any_cpu, no_group) = (-1, -1);
    // SAFETY: the kernel reads as many bytes as the attributes say they have.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            thread,
            any_cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    let event = i32::try_from(event).ok().filter(|event| *event >= 0);
    let event = event.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor is new and nobody else's.
    let event = unsafe { OwnedFd::from_raw_fd(event) };
    // SAFETY: both descriptors are open; the argument is the program's.
    let set = unsafe { libc::ioctl(event.as_raw_fd(), SET_PROGRAM, program.as_raw_fd()) };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(event) }
}
