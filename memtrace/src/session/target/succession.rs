//! What follows another target: a child that was forked, or the next program in a process.

use std::time::Duration;

use super::Target;
use crate::{
    process::{Process, unusable::Unusable},
    session::budget::Watch,
};

impl Target {
    /// A child that was forked: all is as in its parent. `process` is
    /// `None` if it has ended already.
    pub fn forked(parent: &Self, process: Option<Process>, (pid, slot): (u32, u32)) -> Self {
        Self {
            slot,
            pid,
            parent: Some(parent.pid),
            place: parent.place.clone(),
            forked_from: Some(parent.command.clone()),
            inheritance: None,
            comm: parent.comm.clone(),
            command: parent.command.clone(),
            python: parent.python.clone(),
            notes: Vec::new(),
            began: parent.began,
            cpu_before: Duration::ZERO,
            status: None,
            ended: None,
            refusal: None,
            watch: Watch::default(),
            shed: None,
            plan_in_use: parent.plan_in_use.clone(),
            executed: parent.executed,
            awaits_command: false,
            detail: parent.detail,
            probes: Vec::new(),
            paused_on_change: false,
            traced: true,
            // It has the same stack.
            program: parent.program,
            code: parent.code.clone(),
            code_given_up: parent.code_given_up,
            past_code: parent.past_code.clone(),
            planned: parent.planned.clone(),
            covered: parent.covered.clone(),
            process: process.unwrap_or_else(|| parent.process.clone()),
        }
    }

    /// A program that followed another one and that nobody has looked at: what it has mapped, and what its
    /// arguments were, is not known.
    pub fn unread(before: &Self, (pid, slot): (u32, u32), comm: String) -> Self {
        Self {
            comm,
            command: String::new(),
            forked_from: None,
            python: None,
            code: Vec::new(),
            code_given_up: 0,
            past_code: Vec::new(),
            program: 0,
            ..Self::forked(before, None, (pid, slot))
        }
    }

    /// Takes over from the program that ran before in the same process, or in its parent: probes stay.
    pub fn succeed(&mut self, before: &Self) {
        self.covered.clone_from(&before.covered);
        // The kernel goes on recording in the new slot.
        self.traced = true;
    }

    /// Whether the process has become another program since it was looked at first.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.process.program_mark().is_ok_and(|mark| mark != 0 && mark != self.program)
    }

    /// Whether both were the same program in the same process when they were looked at.
    #[must_use]
    pub fn is_same_program(&self, other: &Self) -> bool {
        self.pid == other.pid && self.program == other.program
    }

    /// What it is called and has mapped is not known after all.
    pub fn disown(&mut self, comm: &str, refusal: Unusable) {
        comm.clone_into(&mut self.comm);
        self.command.clear();
        self.code.clear();
        self.python = None;
        self.refusal = Some(refusal);
    }
}
