//! What this kernel can do, found out by trying; versions say little about patched kernels.

use std::{fmt, fs, io, path::Path};

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

/// The outcome of a trial.
#[derive(Debug, PartialEq, Eq)]
pub enum State {
    /// It works.
    Present,
    /// The kernel does not have it; with what brings it.
    Missing(&'static str),
    /// The kernel does not let this user try.
    Denied,
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

/// Tries every feature.
#[must_use]
pub fn probe() -> Vec<Feature> {
    vec![
        Feature {
            name: "ring buffer (bpf_ringbuf_reserve, Linux 5.8)",
            purpose: "names of Python functions reach memtrace before the process can end",
            without: "memtrace does not start",
            state: helper(BpfHelper::BPF_FUNC_ringbuf_reserve, "Linux 5.8 or newer"),
        },
        Feature {
            name: "attach cookies (bpf_get_attach_cookie, Linux 5.15)",
            purpose: "one kernel program serves every allocator function of every process",
            without: "memtrace does not start",
            state: helper(BpfHelper::BPF_FUNC_get_attach_cookie, "Linux 5.15 or newer"),
        },
        Feature {
            name: "loops in kernel programs (bpf_loop, Linux 5.17)",
            purpose: "stacks of up to 512 frames are unwound inside the kernel",
            without: "memtrace does not start",
            state: helper(BpfHelper::BPF_FUNC_loop, "Linux 5.17 or newer"),
        },
        Feature {
            name: "type information (BTF)",
            purpose: "finds the thread pointer of a thread in the running kernel's structures",
            without: "memtrace does not start",
            state: file(super::BTF, "a kernel built with CONFIG_DEBUG_INFO_BTF=y"),
        },
        Feature {
            name: "user-space probes (uprobes)",
            purpose: "sees calls of malloc, free and their like",
            without: "memtrace does not start",
            state: file(
                "/sys/bus/event_source/devices/uprobe/type",
                "a kernel built with CONFIG_UPROBE_EVENTS=y, and /sys mounted",
            ),
        },
    ]
}

/// An error if anything that memtrace cannot do without is missing.
pub fn require() -> Result<(), Unsupported> {
    for feature in probe() {
        match feature.state {
            State::Present => {}
            State::Missing(remedy) => {
                return Err(Unsupported::Missing { feature: feature.name, remedy });
            }
            State::Denied if is_locked_down() => return Err(Unsupported::LockedDown),
            State::Denied => return Err(Unsupported::Denied),
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

fn file(path: &str, remedy: &'static str) -> State {
    match fs::File::open(path) {
        Ok(_) => State::Present,
        Err(error) if denied(&error) => State::Denied,
        Err(_) => State::Missing(remedy),
    }
}

fn denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Whether lockdown is in its strict mode, in which programs cannot read memory.
fn is_locked_down() -> bool {
    let mode = fs::read_to_string(Path::new("/sys/kernel/security/lockdown"));
    mode.is_ok_and(|mode| mode.contains("[confidentiality]"))
}
