//! Probes that children inherit: they are in a child before its first instruction, whoever forks it,
//! and in the programs that it executes.
//!
//! The kernel hands a perf event with `inherit` on to each child, and keeps the breakpoint of a uprobe
//! in a child that has inherited an event of it. Programs go with it only if the event stands for a
//! uprobe that has a name in tracefs: all events of one name share one list of programs. So each probe
//! is defined by name, one event that is not inherited carries the program (a program on an inherited
//! event is taken off with the first child that ends, Linux 6.18), and further events, one for each
//! thread that there is, are inherited.
//!
//! When a processor goes from one task to another whose events are copies of the same, the kernel lets
//! them exchange their events instead of taking one task's off and putting the other's on
//! (`perf_event_context_sched_out`). The first of the two that ends then takes the breakpoints of the
//! other away. Events that are inherited and would be read with each sample keep it from that, since
//! Linux 6.13.

use std::{
    ffi::{CStr, CString},
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};

use super::probes::Point;

/// `PERF_TYPE_TRACEPOINT` of `enum perf_type_id` (`include/uapi/linux/perf_event.h`).
const TRACEPOINT: u32 = 2;
/// `PERF_TYPE_SOFTWARE` and `PERF_COUNT_SW_DUMMY`.
const DUMMY: (u32, u64) = (1, 9);
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 8;
/// Bits of `struct perf_event_attr`: the event itself need not count, only be there.
const DISABLED: u64 = 1;
const INHERIT: u64 = 1 << 1;
/// `PERF_SAMPLE_TID` and `PERF_SAMPLE_READ`.
const READ_WITH_THREAD: u64 = 1 << 1 | 1 << 4;
/// `BPF_LINK_CREATE` of `enum bpf_cmd`, `BPF_PERF_EVENT` of `enum bpf_attach_type`
/// (include/uapi/linux/bpf.h, with cookies since Linux 5.15).
const LINK_CREATE: libc::c_int = 28;
const PERF_EVENT: u32 = 41;
/// `FSCONFIG_CMD_CREATE` (include/uapi/linux/mount.h, Linux 5.2).
const FSCONFIG_CREATE: libc::c_int = 6;
/// Names of groups: one for each memtrace, by its process id.
const GROUP: &str = "memtrace_";

/// The first 64 bytes of `struct perf_event_attr`, all that the first version had.
#[repr(C)]
#[derive(Default)]
struct EventAttributes {
    kind: u32,
    size: u32,
    config: u64,
    unused: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    unused_too: [u64; 2],
}

/// The `link_create` of `union bpf_attr`.
#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    program: u32,
    event: u32,
    kind: u32,
    flags: u32,
    cookie: u64,
}

/// The names under which this memtrace has defined probes; they are removed with it.
pub(super) struct Definitions {
    tracefs: OwnedFd,
    group: String,
    count: u32,
}

/// A probe that children inherit.
pub struct Inherited {
    /// What the kernel calls it.
    id: u64,
    /// With them the probe ends.
    carriers: [OwnedFd; 2],
    /// What children inherit.
    handed_on: Vec<OwnedFd>,
}

impl Definitions {
    /// Mounts tracefs where nobody sees it, and removes what a memtrace left that was killed.
    pub(super) fn open() -> Result<Self> {
        let tracefs = mount_tracefs().context("mount tracefs")?;
        let group = format!("{GROUP}{}", std::process::id());
        let definitions = Self { tracefs, group, count: 0 };
        definitions.open_file("uprobe_events", libc::O_WRONLY).context("open uprobe_events")?;
        definitions.remove_those_of(|id| !is_running(id));
        Ok(definitions)
    }

    /// Attaches a program to a thread's process and to the children of the thread.
    pub(super) fn attach(
        &mut self,
        program: BorrowedFd<'_>,
        is_return: bool,
        point: Point<'_>,
    ) -> Result<Inherited> {
        let id = self.define(is_return, point)?;
        let carrier = open_event(id, point.process_id, 0, 0).context("open a probe")?;
        let link = link(program, carrier.as_fd(), point.cookie).context("attach a program")?;
        Ok(Inherited { id, carriers: [link, carrier], handed_on: Vec::new() })
    }

    fn define(&mut self, is_return: bool, point: Point<'_>) -> Result<u64> {
        let kind = if is_return { 'r' } else { 'p' };
        let name = format!("p{}", self.count);
        self.count += 1;
        let (group, file) = (&self.group, point.file.display());
        let line = format!("{kind}:{group}/{name} {file}:{:#x}\n", point.offset);
        self.write(&line).with_context(|| format!("define the probe {}", line.trim_end()))?;
        let mut id = String::new();
        let path = format!("events/{group}/{name}/id");
        self.open_file(&path, libc::O_RDONLY)
            .and_then(|file| file.take(32).read_to_string(&mut id))
            .with_context(|| format!("read {path} of tracefs"))?;
        id.trim().parse().with_context(|| format!("read {path} of tracefs"))
    }

    fn write(&self, line: &str) -> io::Result<()> {
        self.open_file("uprobe_events", libc::O_WRONLY | libc::O_APPEND)?.write_all(line.as_bytes())
    }

    fn open_file(&self, path: &str, flags: libc::c_int) -> io::Result<File> {
        let path = CString::new(path)?;
        let directory = self.tracefs.as_raw_fd();
        // SAFETY: the path ends with a zero and outlives the call.
        let file = unsafe { libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC) };
        owned(file.into()).map(File::from)
    }

    /// Removes the definitions of memtraces with these process ids. Those in use stay.
    fn remove_those_of(&self, is_wanted: impl Fn(u32) -> bool) {
        let mut list = String::new();
        let read = self
            .open_file("uprobe_events", libc::O_RDONLY)
            .and_then(|file| file.take(1 << 24).read_to_string(&mut list));
        for name in list.lines().filter_map(defined_name).filter(|_| read.is_ok()) {
            if owner(name).is_some_and(&is_wanted) {
                // Harmless where it is: nobody runs it.
                let _ = self.write(&format!("-:{name}\n"));
            }
        }
    }
}

impl Drop for Definitions {
    fn drop(&mut self) {
        let own = std::process::id();
        self.remove_those_of(|id| id == own);
    }
}

impl Inherited {
    /// Hands the probe on to the children of a thread that runs already.
    pub fn hand_on(&mut self, thread: u32) -> Result<()> {
        let event = open_event(self.id, thread, INHERIT, READ_WITH_THREAD);
        let event = match event {
            Err(error) if is_invalid(&error) => open_event(self.id, thread, INHERIT, 0),
            event => event,
        };
        self.handed_on.push(event.context("hand a probe on")?);
        Ok(())
    }

    /// Its files: those that children inherit, and those with which the probe ends.
    pub(super) fn into_files(self) -> (Vec<OwnedFd>, [OwnedFd; 2]) {
        (self.handed_on, self.carriers)
    }
}

/// `GROUP/NAME` of a line of `uprobe_events`.
fn defined_name(line: &str) -> Option<&str> {
    line.split_once(':')?.1.split_whitespace().next()
}

/// The process id of the memtrace that has defined a probe.
fn owner(name: &str) -> Option<u32> {
    name.split_once('/')?.0.strip_prefix(GROUP)?.parse().ok()
}

fn is_running(process_id: u32) -> bool {
    let Ok(process_id) = i32::try_from(process_id) else { return true };
    // SAFETY: the call takes two integers; signal 0 is none.
    let answer = unsafe { libc::kill(process_id, 0) };
    answer == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

fn mount_tracefs() -> io::Result<OwnedFd> {
    const NAME: &CStr = c"tracefs";
    const NOTHING: *const libc::c_char = std::ptr::null();
    // SAFETY: the name ends with a zero.
    let context = owned(unsafe { libc::syscall(libc::SYS_fsopen, NAME.as_ptr(), 1) })?;
    let fd = context.as_raw_fd();
    // SAFETY: the command takes no further arguments.
    if unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CREATE, NOTHING, NOTHING, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call takes three integers.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, 1, 0) })
}

/// An event of a probe by name, for a thread and, if inherited, for its children to come.
fn open_event(id: u64, thread: u32, flags: u64, sample_type: u64) -> io::Result<OwnedFd> {
    // 0 would be this very thread, and what is negative any.
    let thread = i32::try_from(thread).ok().filter(|thread| *thread > 0);
    open((TRACEPOINT, id), thread.ok_or(io::ErrorKind::NotFound)?, flags, sample_type)
}

fn open(
    (kind, config): (u32, u64),
    thread: libc::pid_t,
    flags: u64,
    sample_type: u64,
) -> io::Result<OwnedFd> {
    let attributes = EventAttributes {
        kind,
        size: size_of::<EventAttributes>() as u32,
        config,
        sample_type,
        flags: DISABLED | flags,
        ..EventAttributes::default()
    };
    let (any_cpu, no_group) = (-1, -1);
    // SAFETY: the attributes are as long as they say.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            thread,
            any_cpu,
            no_group,
            CLOSE_ON_EXEC,
        )
    };
    owned(event)
}

/// An event of a process that its children do not inherit: from now on the kernel does not take the
/// other events of either for copies. It is all that can be done before Linux 6.13.
pub fn set_apart(process_id: u32) -> io::Result<OwnedFd> {
    let process_id = libc::pid_t::try_from(process_id).ok().filter(|process| *process > 0);
    open(DUMMY, process_id.ok_or(io::ErrorKind::NotFound)?, 0, 0)
}

/// Whether children keep what they inherit when others end that were forked beside them.
pub fn is_kept() -> io::Result<bool> {
    let this_thread = 0;
    match open(DUMMY, this_thread, INHERIT, READ_WITH_THREAD) {
        Err(error) if is_invalid(&error) => Ok(false),
        event => event.map(|_| true),
    }
}

fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

fn link(program: BorrowedFd<'_>, event: BorrowedFd<'_>, cookie: u64) -> io::Result<OwnedFd> {
    let attributes = LinkAttributes {
        program: program.as_raw_fd().cast_unsigned(),
        event: event.as_raw_fd().cast_unsigned(),
        kind: PERF_EVENT,
        flags: 0,
        cookie,
    };
    let size = size_of::<LinkAttributes>();
    // SAFETY: the attributes are as long as is said; the kernel takes the rest as zero.
    owned(unsafe { libc::syscall(libc::SYS_bpf, LINK_CREATE, &raw const attributes, size) })
}

fn owned(result: libc::c_long) -> io::Result<OwnedFd> {
    let fd = i32::try_from(result).ok().filter(|fd| *fd >= 0);
    let fd = fd.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_tell_whose_they_are() {
        let line = "p:memtrace_4711/p3 /proc/4711/fd/9:0x0000000000099e00";
        assert_eq!(defined_name(line), Some("memtrace_4711/p3"));
        assert_eq!(owner("memtrace_4711/p3"), Some(4711));
        for foreign in ["probe_libc/malloc", "memtrace_x/p", "memtrace_1"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
        assert_eq!(defined_name("garbage"), None);
    }
}
