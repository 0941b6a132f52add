//! Tells whoever waits for it that a process is being recorded.

use std::io::{self, IsTerminal as _};

use super::super::{Goal, Options, target::Target};
use crate::cli;

/// Processes that are told of one by one, unless the user wants to know everything.
const MOST: u32 = 20;

/// To whom it is told.
pub(super) struct Announcement {
    /// Processes that may still be told of; `None`: nobody wants to know.
    left: Option<u32>,
}

impl Announcement {
    pub(super) fn new(options: &Options) -> Self {
        let many = options.verbose.then_some(u32::MAX);
        let left = many.or_else(|| is_unattended(options).then_some(MOST));
        Self { left }
    }

    /// Everything that the target does from now on is recorded.
    pub(super) fn tell_of(&mut self, target: &Target) {
        let is_recorded = target.has_allocator() && target.ended.is_none();
        let Some(left) = self.left.as_mut().filter(|_| is_recorded) else { return };
        if *left == 0 {
            cli::say("tracing more processes; the report has them all");
            self.left = None;
        } else {
            cli::say(&format!("tracing process {} ({})", target.pid, target.comm));
            *left -= 1;
        }
    }
}

/// Whether nobody sees progress who would like to. The standard error of a command is its own.
fn is_unattended(options: &Options) -> bool {
    let attaches = !matches!(options.goal, Goal::Run(_));
    attaches && !options.quiet && !io::stderr().is_terminal()
}
