//! A process of which nothing can be traced.

use std::{error::Error, fmt, path::PathBuf};

use super::{super::Detail, Target};
use crate::process::unusable::Reason;

/// A process in which there is nothing to probe.
#[derive(Debug)]
pub struct NoAllocator {
    pid: u32,
    comm: String,
    program: PathBuf,
}

impl Target {
    /// An error if nothing of the process can be recorded, now or after it loads libraries.
    pub fn check_plan(&self) -> Result<(), NoAllocator> {
        if self.has_nothing() { Err(NoAllocator::of(self)) } else { Ok(()) }
    }

    /// Whether it was over before it was read, while the kernel recorded it.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.refusal.as_ref().is_some_and(|refusal| match refusal.reason {
            Reason::Outrun => true,
            Reason::NoSuchProcess | Reason::Replaced | Reason::Zombie => self.parent.is_some(),
            _ => false,
        })
    }

    /// Whether nothing of it is recorded, nor will be.
    #[must_use]
    pub fn has_nothing(&self) -> bool {
        match self.detail {
            Detail::Rss => self.awaits_command,
            Detail::Full => self.plan_in_use.is_empty(),
        }
    }
}

impl NoAllocator {
    /// Of a process.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let Target { process, comm, pid, .. } = target;
        Self { pid: *pid, comm: comm.clone(), program: process.program() }
    }

    /// What helps, as a sentence with the exact command.
    #[must_use]
    pub fn hint(&self) -> String {
        let program = self.program.display();
        format!("a static program must keep its symbols: nm {program} | grep -w malloc")
    }
}

impl fmt::Display for NoAllocator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, comm, .. } = self;
        write!(
            out,
            "process {pid} ({comm}) has no allocator: no file it has mapped has a symbol malloc"
        )
    }
}

impl Error for NoAllocator {}
