//! Processes that are found rather than named: those that run, and those that start later.

use anyhow::Result;

use super::{super::Options, Tracer, open};
use crate::{
    cli,
    objects::Objects,
    process::selection::{Search, Wanted},
};

/// The search, and what became of those that were found.
pub(super) struct Selection {
    search: Search,
    refused: usize,
    /// Why one of them was.
    reason: Option<String>,
}

impl Selection {
    /// How many could not be traced, in one sentence.
    pub(super) fn into_note(self) -> Option<String> {
        let reason = self.reason?;
        let count = self.refused;
        let noun = if count == 1 { "process" } else { "processes" };
        Some(format!("{count} {noun} that fit could not be traced, such as: {reason}"))
    }
}

impl Tracer {
    /// Traces the processes that are wanted. It is no error if there is none yet.
    pub fn select(wanted: Vec<Wanted>, options: &Options) -> Result<Self> {
        let mut search = Search::new(wanted);
        let found = search.find();
        let mut objects = Objects::with_cache();
        for pid in &found {
            // The rows of all unwind tables must fit. Who cannot be opened is told of later.
            let _ = open(*pid, &mut objects);
        }
        let mut tracer = Self::load(objects, options)?;
        if found.is_empty() {
            cli::say("no process fits; waiting for one");
        }
        tracer.selection = Some(Selection { search, refused: 0, reason: None });
        tracer.take_in(found);
        Ok(tracer)
    }

    /// Looks for processes that have started since.
    pub fn search(&mut self) {
        if let Some(selection) = &mut self.selection {
            let found = selection.search.find();
            self.take_in(found);
        }
    }

    /// Begins to record them. Those that are children of others have been followed already.
    fn take_in(&mut self, found: Vec<u32>) {
        for pid in found {
            let mut targets = self.targets.iter();
            if targets.any(|target| target.pid == pid && target.ended.is_none()) {
                continue;
            }
            if let Err(error) = self.trace_found(pid)
                && let Some(selection) = &mut self.selection
            {
                selection.refused += 1;
                selection.reason.get_or_insert(format!("{error:#}"));
            }
        }
    }

    fn trace_found(&mut self, pid: u32) -> Result<()> {
        let process = open(pid, &mut self.objects)?;
        let slot = self.add(process)?;
        if let Some(target) = self.targets.get_mut(slot) {
            target.start(&mut self.kernel, &self.objects, &self.probes)?;
        }
        self.follow_pages(slot, None);
        self.announce(slot);
        Ok(())
    }
}
