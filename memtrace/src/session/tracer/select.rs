//! Processes that are found rather than named: those that run, and those that start later.

use std::time::Duration;

use anyhow::Result;

use super::{
    super::{Options, target::Target},
    Tracer, open,
};
use crate::{
    cli,
    objects::Objects,
    process::selection::{Search, Wanted},
};

/// Processes in a run, of the 4,096 for which there is room, from which on the oldest of those that
/// have ended make room for others.
const CROWDED: usize = 3072;

/// How long a process that has ended may still be told of by the kernel programs.
const AFTERLIFE: Duration = Duration::from_secs(2);

/// The search, and what became of those that were found.
pub(super) struct Selection {
    search: Search,
    refused: usize,
    /// Why one of them was.
    reason: Option<String>,
    /// Processes that have ended and made room for others.
    forgotten: usize,
}

impl Selection {
    /// How many are missing, in a sentence each.
    pub(super) fn into_notes(self) -> impl Iterator<Item = String> {
        let (count, forgotten) = (self.refused, self.forgotten);
        let noun = if count == 1 { "process" } else { "processes" };
        let refused = self
            .reason
            .map(|why| format!("{count} {noun} that fit could not be traced, such as: {why}"));
        let forgotten = (forgotten > 0).then(|| {
            format!(
                "The first {forgotten} processes that ended are left out: there was no more room."
            )
        });
        refused.into_iter().chain(forgotten)
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
        tracer.kernel.tell_of_programs()?;
        if found.is_empty() {
            cli::say("no process fits; waiting for one");
        }
        tracer.selection = Some(Selection { search, refused: 0, reason: None, forgotten: 0 });
        tracer.take_in(found);
        Ok(tracer)
    }

    /// Looks for processes that have started since.
    pub fn search(&mut self) -> Result<()> {
        self.make_room()?;
        if let Some(selection) = &mut self.selection {
            let found = selection.search.find();
            self.take_in(found);
        }
        Ok(())
    }

    /// A process may fit now that it has become another program.
    pub(super) fn search_again(&mut self, pid: u32) {
        if let Some(selection) = &mut self.selection {
            selection.search.look_again(pid);
        }
    }

    /// Forgets half of those that have ended, if there are many. Children that are followed have what
    /// they inherited from processes that may have ended.
    fn make_room(&mut self) -> Result<()> {
        if self.targets.iter().count() < CROWDED || self.probes.follow() {
            return Ok(());
        }
        let is_past = |target: &&Target| {
            target.ended.is_some_and(|ended| ended + AFTERLIFE <= self.began.elapsed())
        };
        let ended = self.targets.iter().filter(is_past);
        let mut ended: Vec<_> = ended.map(|target| target.slot).collect();
        ended.truncate(ended.len().div_ceil(2));
        if let Some(selection) = &mut self.selection {
            selection.forgotten += ended.len();
        }
        self.forget(&ended)
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
