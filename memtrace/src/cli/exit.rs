//! How memtrace ends: exit codes, and errors with a hint of what helps.

use std::{io, process::ExitCode};

use anyhow::Error;

use crate::{
    kernel::Unsupported,
    output::Exists,
    process::unusable::{Reason, Unusable},
};

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Data was written.
    Success,
    /// Something went wrong.
    Failure,
    /// The command line makes no sense.
    Usage,
    /// The target was gone before there was any data.
    TargetGone,
    /// The user may not do this.
    NotPermitted,
    /// The kernel lacks a feature.
    KernelLacksFeature,
    /// The traced command ended with this code.
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::TargetGone => 3,
            Exit::NotPermitted => 4,
            Exit::KernelLacksFeature => 5,
            Exit::Command(code) => code,
        })
    }
}

/// Prints help, or what is wrong with the command line.
pub(super) fn usage(error: &clap::Error) -> Exit {
    // There is nowhere to report a closed terminal to.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Success }
}

/// Neither a process nor a command was named.
#[expect(clippy::print_stderr, reason = "errors go to the user")]
pub(super) fn nothing_to_do() -> Exit {
    eprintln!("memtrace: nothing to trace");
    eprintln!("hint: memtrace --pid PID, or memtrace -- COMMAND; memtrace --help has examples");
    Exit::Usage
}

/// Prints an error and what helps.
#[expect(clippy::print_stderr, reason = "errors go to the user")]
pub(super) fn report(error: &Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Success;
    }
    let (exit, hint) = classify(error);
    eprintln!("memtrace: {}", format!("{error:#}").replace('\n', " "));
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    exit
}

fn classify(error: &Error) -> (Exit, Option<String>) {
    if let Some(unusable) = error.downcast_ref::<Unusable>() {
        let exit = match unusable.reason {
            Reason::NoSuchProcess | Reason::Replaced | Reason::Zombie => Exit::TargetGone,
            Reason::NotPermitted => Exit::NotPermitted,
            _ => Exit::Failure,
        };
        return (exit, Some(unusable.hint()));
    }
    if let Some(unsupported) = error.downcast_ref::<Unsupported>() {
        return unsupported_kernel(unsupported);
    }
    if error.is::<Exists>() {
        return (Exit::Failure, Some("choose another name, or add --force".into()));
    }
    match error.root_cause().downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull) => {
            (Exit::Failure, Some("free some space, or write to another file system".into()))
        }
        Some(io::ErrorKind::PermissionDenied) => {
            (Exit::NotPermitted, Some("run it as root: sudo memtrace ...".into()))
        }
        _ => (Exit::Failure, None),
    }
}

fn unsupported_kernel(unsupported: &Unsupported) -> (Exit, Option<String>) {
    match unsupported {
        Unsupported::Missing { remedy, .. } => {
            (Exit::KernelLacksFeature, Some(format!("needed: {remedy}; see memtrace doctor")))
        }
        Unsupported::Denied => {
            (Exit::NotPermitted, Some("run it as root: sudo memtrace ...".into()))
        }
        Unsupported::LockedDown => (
            Exit::KernelLacksFeature,
            Some("boot without lockdown=confidentiality; see memtrace doctor".into()),
        ),
    }
}

/// The reader of the output has gone: not an error, as with every filter.
fn is_broken_pipe(error: &Error) -> bool {
    let io = error.root_cause().downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
