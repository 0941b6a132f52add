//! Processes that are found rather than named: those that run, and those that start later.

use std::{collections::HashSet, time::Duration};

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
const CROWDED: usize = 2048;

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
        let missing = wanted.iter().find_map(|wanted| wanted.check().err());
        let mut search = Search::new(wanted);
        let found = search.find();
        if let Some(missing) = missing.filter(|_| found.is_empty()) {
            return Err(missing.into());
        }
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

    /// Forgets half of those that have ended, if there are many, or more if they are too many.
    fn make_room(&mut self) -> Result<()> {
        let Some(selection) = &mut self.selection else { return Ok(()) };
        let count = self.targets.iter().count();
        if count < CROWDED {
            return Ok(());
        }
        let mut past = dispensable(self.targets.iter(), self.began.elapsed());
        past.truncate(past.len().div_ceil(2).max(count - CROWDED));
        selection.forgotten += past.len();
        self.forget(&past)
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
            target.begins(self.began.elapsed());
            target.start(&mut self.kernel, &self.objects, &self.probes)?;
        }
        self.follow_pages(slot, None);
        self.announce(slot);
        Ok(())
    }
}

/// The slots of those that ended a while ago. What a child inherited is told with the names that its parent
/// knows, so such parents stay.
fn dispensable<'a>(targets: impl Iterator<Item = &'a Target> + Clone, now: Duration) -> Vec<u32> {
    let has_inherited =
        |target: &&Target| target.inheritance.as_ref().is_some_and(|had| !had.stacks.is_empty());
    let heirs = targets.clone().filter(has_inherited);
    let parents: HashSet<u32> = heirs.filter_map(|target| target.parent).collect();
    let is_past = |target: &&Target| target.ended.is_some_and(|ended| ended + AFTERLIFE <= now);
    let past = targets.filter(is_past).filter(|target| !parents.contains(&target.pid));
    past.map(|target| target.slot).collect()
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::{
        process::{Process, workload::Workload},
        session::{Detail, inheritance::Inheritance},
    };

    #[test]
    fn those_that_ended_make_room_unless_a_child_has_something_of_them() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let process = Process::open(sleep.pid()).unwrap();
        let mut parent = Target::new(process, 0, false, Detail::Rss).unwrap();
        parent.ended = Some(Duration::ZERO);
        let child = |slot: u32| Target::forked(&parent, None, (1 << 30 | slot, slot));
        let (mut heir, mut other, mut fresh) = (child(1), child(2), child(3));
        heir.ended = Some(Duration::ZERO);
        other.ended = Some(Duration::ZERO);
        fresh.ended = Some(AFTERLIFE);
        let stacks = [(7, (64, 1))].into();
        heir.inheritance = Some(Rc::new(Inheritance { stacks }));
        let all = [parent, heir, other, fresh];
        assert_eq!(dispensable(all.iter(), AFTERLIFE), [1, 2]);
        assert_eq!(dispensable(all[2..].iter().chain(&all[..1]), AFTERLIFE * 2), [2, 3, 0]);
    }
}
