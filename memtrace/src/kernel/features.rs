//! What this kernel can do, found out by trying; versions say little about patched kernels.

use std::{
    fmt, fs,
    io::{self, Read as _},
    os::fd::{FromRawFd as _, OwnedFd},
};

use aya::{
    programs::{ProgramError, ProgramType},
    sys::{BpfHelper, SyscallError, is_helper_supported},
};

/// Something that memtrace needs of the kernel.
#[derive(Debug)]
pub struct Feature {
    /// What it is called.
    pub name: &'static str,
    /// What memtrace does with it.
    pub purpose: &'static str,
    /// What happens without it.
    pub without: &'static str,
    /// Whether it is there.
    pub state: State,
}

/// What happens without a feature that everything depends on.
const FATAL: &str = "memtrace does not start";
/// What happens without one that only resident memory by stack depends on.
const PARTIAL: &str = "resident memory is not attributed to those who touched it";

impl Feature {
    /// Whether memtrace can do without it.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.without != FATAL
    }
}

/// The outcome of a trial.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Present,
    /// The kernel does not have it; with what brings it.
    Missing(&'static str),
    /// The kernel does not let this user try.
    Denied,
    /// The kernel has it, and is locked down against its use by anyone.
    LockedDown,
}

/// Why the kernel programs cannot be used: [`Display`](fmt::Display) is one line.
#[derive(Debug)]
pub enum Unsupported {
    /// The kernel lacks a feature.
    Missing {
        /// The feature's name.
        feature: &'static str,
        /// What brings it.
        remedy: &'static str,
    },
    /// This user may not use it.
    Denied,
    /// The kernel is locked down against reading memory from its programs.
    LockedDown,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { feature, .. } => write!(out, "this kernel lacks {feature}"),
            Self::Denied => write!(out, "the kernel does not let this user load tracing programs"),
            Self::LockedDown => {
                write!(out, "this kernel is locked down: its programs may not read memory")
            }
        }
    }
}

impl std::error::Error for Unsupported {}

/// Holds the number by which the kernel knows perf events of user-space probes.
const UPROBES: &str = "/sys/bus/event_source/devices/uprobe/type";
/// Says in which mode the kernel is locked down; absent where it cannot be.
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Tries every feature.
#[must_use]
pub fn probe() -> Vec<Feature> {
    newer_helpers().into_iter().chain(older_helpers()).chain(files()).collect()
}

/// First the one that needs the newest kernel: whoever lacks more is told of it.
fn newer_helpers() -> [Feature; 4] {
    [
        Feature {
            name: "loops in kernel programs (bpf_loop, Linux 5.17)",
            purpose: "stacks of up to 512 frames are unwound inside the kernel",
            without: FATAL,
            state: helper(BpfHelper::BPF_FUNC_loop, "Linux 5.17 or newer"),
        },
        Feature {
            name: "ring buffer (bpf_ringbuf_reserve, Linux 5.8)",
            purpose: "names of Python functions reach memtrace before the process can end",
            without: FATAL,
            state: helper(BpfHelper::BPF_FUNC_ringbuf_reserve, "Linux 5.8 or newer"),
        },
        Feature {
            name: "attach cookies (bpf_get_attach_cookie, Linux 5.15)",
            purpose: "one kernel program serves every allocator function of every process",
            without: FATAL,
            state: helper(BpfHelper::BPF_FUNC_get_attach_cookie, "Linux 5.15 or newer"),
        },
        Feature {
            name: "time since boot (bpf_ktime_get_boot_ns, Linux 5.8)",
            purpose: "tells when a process held most",
            without: FATAL,
            state: helper(BpfHelper::BPF_FUNC_ktime_get_boot_ns, "Linux 5.8 or newer"),
        },
    ]
}

fn older_helpers() -> [Feature; 3] {
    [
        Feature {
            name: "signals from kernel programs (bpf_send_signal, Linux 5.3)",
            purpose: "pauses a command that memtrace started while its new code is being read",
            without: FATAL,
            state: helper(BpfHelper::BPF_FUNC_send_signal, "Linux 5.3 or newer"),
        },
        Feature {
            name: "reading the process (bpf_probe_read_user, Linux 5.5)",
            purpose: "walks stacks and the interpreter's frames",
            without: FATAL,
            state: helper(BpfHelper::BPF_FUNC_probe_read_user, "Linux 5.5 or newer"),
        },
        Feature {
            name: "reading kernel structures (bpf_probe_read_kernel, Linux 5.5)",
            purpose: "finds the thread pointer of a thread, and its process's last thread",
            without: FATAL,
            state: unless_locked_down(
                helper(BpfHelper::BPF_FUNC_probe_read_kernel, "Linux 5.5 or newer"),
                &fs::read_to_string(LOCKDOWN).unwrap_or_default(),
            ),
        },
    ]
}

fn files() -> [Feature; 4] {
    [
        Feature {
            name: super::TYPES,
            purpose: "finds the thread pointer of a thread in the running kernel's structures",
            without: FATAL,
            state: type_information(),
        },
        Feature {
            name: "user-space probes (uprobes)",
            purpose: "sees calls of malloc, free and their like",
            without: FATAL,
            state: uprobes(),
        },
        Feature {
            name: "page faults in kernel programs (perf events with any map, Linux 6.1)",
            purpose: "sees who touches a page first",
            without: PARTIAL,
            state: page_faults(),
        },
        Feature {
            name: "probes that children keep (perf events of Linux 6.13)",
            purpose: "children of children stay traced when those end that were forked beside them",
            without: "some lose their probes then, and the report says that they may have",
            state: kept_probes(),
        },
    ]
}

/// An error if anything that memtrace cannot do without is missing.
pub fn require() -> Result<(), Unsupported> {
    for feature in probe().into_iter().filter(|feature| !feature.is_optional()) {
        match feature.state {
            State::Present => {}
            State::Missing(remedy) => {
                return Err(Unsupported::Missing { feature: feature.name, remedy });
            }
            State::Denied => return Err(Unsupported::Denied),
            State::LockedDown => return Err(Unsupported::LockedDown),
        }
    }
    Ok(())
}

fn helper(helper: BpfHelper, remedy: &'static str) -> State {
    match is_helper_supported(ProgramType::KProbe, helper) {
        Ok(true) => State::Present,
        Ok(false) => State::Missing(remedy),
        Err(ProgramError::SyscallError(SyscallError { io_error, .. })) if denied(&io_error) => {
            State::Denied
        }
        Err(_) => State::Missing("a kernel built with CONFIG_BPF_SYSCALL=y"),
    }
}

/// The kernel looks at rights before it looks at what is asked for: here, a probe in no file.
fn uprobes() -> State {
    match fs::read_to_string(UPROBES).map(|number| number.trim().parse()) {
        Ok(Ok(number)) if !denied(&open_empty_event(number)) => State::Present,
        Ok(Ok(_)) => State::Denied,
        Err(error) if denied(&error) => State::Denied,
        _ => State::Missing("a kernel built with CONFIG_UPROBE_EVENTS=y, and /sys mounted"),
    }
}

/// Since Linux 6.1 such programs may use maps that take memory as they grow. The kernel has had
/// this helper for as long.
fn page_faults() -> State {
    match is_helper_supported(ProgramType::PerfEvent, BpfHelper::BPF_FUNC_user_ringbuf_drain) {
        Ok(true) => State::Present,
        Ok(false) => State::Missing("Linux 6.1 or newer"),
        Err(_) => State::Denied,
    }
}

fn kept_probes() -> State {
    match super::inherited::is_kept() {
        Ok(true) => State::Present,
        Ok(false) => State::Missing("Linux 6.13 or newer"),
        Err(_) => State::Denied,
    }
}

/// How the kernel refuses a perf event of this kind that lacks everything else.
fn open_empty_event(kind: u32) -> io::Error {
    // `struct perf_event_attr` of 72 bytes: its type and size come first.
    let attributes = [u64::from(kind) | 72 << 32, 0, 0, 0, 0, 0, 0, 0, 0];
    let (this_thread, any_cpu, no_group, close_on_exec) = (0, -1, -1, 8);
    // SAFETY: the kernel reads as many bytes as the attributes say they have.
    let event = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            this_thread,
            any_cpu,
            no_group,
            close_on_exec,
        )
    };
    let error = io::Error::last_os_error();
    if let Ok(event @ 0..) = i32::try_from(event) {
        // SAFETY: the descriptor is new and nobody else's.
        drop(unsafe { OwnedFd::from_raw_fd(event) });
        return io::ErrorKind::InvalidInput.into();
    }
    error
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// The file may be there and hold something else, as where a container masks it.
fn type_information() -> State {
    let mut magic = [0; 2];
    let read = fs::File::open(super::BTF).and_then(|mut file| file.read_exact(&mut magic));
    match read {
        Ok(()) if magic == super::btf::MAGIC.to_le_bytes() => State::Present,
        Err(error) if denied(&error) => State::Denied,
        _ => State::Missing(super::TYPES_REMEDY),
    }
}

/// In the strict mode of lockdown the kernel denies that it has helpers that read its memory
/// (`bpf_base_func_proto`, kernel/bpf/helpers.c).
fn unless_locked_down(state: State, lockdown: &str) -> State {
    match state {
        State::Missing(_) if lockdown.contains("[confidentiality]") => State::LockedDown,
        state => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_lockdown_hides_is_not_a_missing_feature() {
        let locked = "none integrity [confidentiality]\n";
        assert_eq!(unless_locked_down(State::Missing("x"), locked), State::LockedDown);
        assert_eq!(unless_locked_down(State::Present, locked), State::Present);
        for mode in ["none [integrity] confidentiality\n", "[none] integrity confidentiality\n", ""]
        {
            assert_eq!(unless_locked_down(State::Missing("x"), mode), State::Missing("x"));
        }
    }
}
