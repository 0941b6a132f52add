//! How memtrace ends: exit codes, and errors with a hint of what helps.

use std::{
    env, fmt,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Error;

use crate::{
    kernel::Unsupported,
    output::{self, SeveralErrors, Unwritable},
    process::{
        namespaces::InNamespace,
        rights,
        selection::NoSuchGroup,
        unusable::{self, Unusable},
    },
    recording::Unreadable,
    report::{NotInFormat, UnknownFormat},
    session::{NoAllocator, NotStarted},
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

const EXAMPLES: &str = "memtrace --help has examples";

/// Prints help, or what is wrong with the command line.
pub(super) fn usage(error: &clap::Error) -> Exit {
    if !error.use_stderr() {
        // There is nowhere to report a closed terminal to.
        let _ = error.print();
        return Exit::Success;
    }
    let text = error.to_string();
    // Then follow tips, which know nothing of this command, and the usage.
    let problem = text.split("\n\n").next().unwrap_or_default();
    say(problem.strip_prefix("error: ").unwrap_or(problem));
    hint(EXAMPLES);
    Exit::Usage
}

/// Neither a process nor a command was named.
pub(super) fn nothing_to_do() -> Exit {
    say("nothing to trace");
    hint(&format!("memtrace --pid PID, memtrace --unit NAME, or memtrace -- COMMAND; {EXAMPLES}"));
    Exit::Usage
}

/// Prints an error and what helps.
#[must_use]
pub fn report(error: &Error) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Success;
    }
    if let Some(SeveralErrors(errors)) = error.downcast_ref() {
        let exits: Vec<_> = errors.iter().map(report).collect();
        return exits.first().copied().unwrap_or(Exit::Failure);
    }
    let (exit, help) = classify(error);
    say(&causes(error));
    if let Some(help) = help {
        hint(&help);
    }
    exit
}

/// An error and its causes; some errors repeat theirs.
fn causes(error: &Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text += ": ";
        }
        text += &cause;
    }
    text
}

/// Prints one line for the user, whatever is in it.
pub fn say(text: &str) {
    // There is nowhere to report a closed terminal to.
    let _ = writeln!(io::stderr(), "memtrace: {}", one_line(text));
}

/// Prints what cannot be done, where memtrace goes on, and what helps.
pub fn complain(error: &impl fmt::Display, help: &str) {
    say(&error.to_string());
    hint(help);
}

fn hint(text: &str) {
    // As above.
    let _ = writeln!(io::stderr(), "hint: {}", one_line(text));
}

/// Names of processes and files can hold anything; a terminal would obey some of it.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split(['\n', ' ']).filter(|word| !word.is_empty()).collect();
    let mut line = String::new();
    for character in words.join(" ").chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

fn classify(error: &Error) -> (Exit, Option<String>) {
    if let Some(unusable) = error.downcast_ref::<Unusable>() {
        (of_target(&unusable.reason), Some(unusable.hint()))
    } else if let Some(unsupported) = error.downcast_ref::<Unsupported>() {
        unsupported_kernel(unsupported)
    } else if let Some(unwritable) = error.downcast_ref::<Unwritable>() {
        (of_output(&unwritable.reason), Some(unwritable.hint()))
    } else if let Some(unreadable) = error.downcast_ref::<Unreadable>() {
        (Exit::Failure, Some(unreadable.hint().into()))
    } else if let Some(blind) = error.downcast_ref::<NoAllocator>() {
        (Exit::Failure, Some(blind.hint()))
    } else if let Some(not_started) = error.downcast_ref::<NotStarted>() {
        (not_started.exit(), Some(not_started.hint()))
    } else if error.is::<NoSuchGroup>() {
        (Exit::TargetGone, Some(NoSuchGroup::hint().into()))
    } else if error.is::<InNamespace>() {
        (Exit::Failure, Some(InNamespace::hint().into()))
    } else if error.is::<UnknownFormat>() {
        (Exit::Usage, Some("for a flame graph: -o NAME.svg".into()))
    } else if error.is::<NotInFormat>() {
        (Exit::Usage, Some("for a chart: -o NAME.svg; for numbers: -o NAME.json".into()))
    } else {
        of_system(error)
    }
}

/// What the operating system did not want.
fn of_system(error: &Error) -> (Exit, Option<String>) {
    let code = error.root_cause().downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    match code {
        Some(libc::EPERM | libc::EACCES) => (Exit::NotPermitted, Some(with_rights())),
        Some(libc::E2BIG | libc::ENOMEM) => {
            (Exit::Failure, Some("ask for smaller tables: --max-live, --max-stacks".into()))
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            (Exit::Failure, Some("allow more open files: ulimit -n 4096".into()))
        }
        _ => (Exit::Failure, None),
    }
}

fn of_target(reason: &unusable::Reason) -> Exit {
    use unusable::Reason;
    match reason {
        Reason::NoSuchProcess | Reason::Replaced | Reason::Zombie => Exit::TargetGone,
        Reason::NotPermitted => Exit::NotPermitted,
        _ => Exit::Failure,
    }
}

fn of_output(reason: &output::Reason) -> Exit {
    match reason {
        output::Reason::NamedTwice => Exit::Usage,
        _ => Exit::Failure,
    }
}

fn unsupported_kernel(unsupported: &Unsupported) -> (Exit, Option<String>) {
    match unsupported {
        Unsupported::Missing { remedy, .. } => {
            (Exit::KernelLacksFeature, Some(format!("needed: {remedy}; see memtrace doctor")))
        }
        Unsupported::Denied => (Exit::NotPermitted, Some(with_rights())),
        Unsupported::LockedDown => (
            Exit::KernelLacksFeature,
            Some("boot without lockdown=confidentiality; see memtrace doctor".into()),
        ),
    }
}

/// The same command with the rights that it needs.
fn with_rights() -> String {
    let quoted = |word: std::ffi::OsString| {
        let word = word.to_string_lossy().into_owned();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
        if !word.is_empty() && word.chars().all(is_plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<_> = env::args_os().map(quoted).collect();
    rights::remedy(&words.join(" "))
}

/// The reader of the output has gone: not an error, as with every filter.
fn is_broken_pipe(error: &Error) -> bool {
    let io = error.root_cause().downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_is_one_line_that_no_terminal_obeys() {
        assert_eq!(one_line("a\n  b\x1b[31m\u{9b}c\td"), r"a b\u{1b}[31m\u{9b}c\td");
    }

    #[test]
    fn causes_are_said_once() {
        let error = Error::msg("too large").context("map LIVE: too large").context("load");
        assert_eq!(causes(&error), "load: map LIVE: too large");
    }

    #[test]
    fn what_is_missing_decides_the_exit() {
        let exit = |error: Error| classify(&error).0;
        let missing = Unsupported::Missing { feature: "x", remedy: "y" };
        let context = Err::<(), _>(Error::msg("parse")).context(missing).unwrap_err();
        assert_eq!(exit(context), Exit::KernelLacksFeature);
        assert_eq!(exit(Unsupported::LockedDown.into()), Exit::KernelLacksFeature);
        assert_eq!(exit(Unsupported::Denied.into()), Exit::NotPermitted);
        let denied = io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(exit(Error::from(denied).context("attach")), Exit::NotPermitted);
        assert_eq!(exit(Error::msg("anything else")), Exit::Failure);
    }
}
