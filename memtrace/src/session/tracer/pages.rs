//! The pages of the targets, from the beginning of their tracing to its end.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use memtrace_abi::{allocation::place, mapping::Range};

use super::{
    super::{history::by_kind, pages::Subject, residence::Settled, target::Target},
    Tracer,
    live::Live,
};
use crate::{decomposition::LiveBlocks, pages::Ranges, report::units::Size};

/// Time for a look at all pages of a target.
const PATIENCE: Duration = Duration::from_secs(5);

impl Tracer {
    /// Follows what a target does to its memory from now on. Without it the rest goes on.
    /// `before` is the slot of the process that it was, or was forked from.
    pub(super) fn follow_pages(&mut self, slot: u32, before: Option<u32>) {
        let target = self.targets.get(slot).filter(|target| target.ended.is_none());
        let Some(target) = target.filter(|target| target.refusal.is_none()) else { return };
        let subject = Subject { target, before, follows: self.probes.follow() };
        let deadline = Instant::now() + PATIENCE;
        if let Err(error) = self.pages.follow(&mut self.kernel, &subject, deadline)
            && target.process.check().is_ok()
        {
            let pid = target.pid;
            self.failures.note(pid, &format!("not all is known of its pages: {error:#}"));
        }
    }

    /// Takes in what has happened to the pages of the targets.
    pub fn look_at_pages(&mut self) -> Result<()> {
        self.pages.look(&mut self.kernel)
    }

    /// Tells of mappings in the middle of which something was unmapped or replaced: the kernel
    /// programs see that only at either end.
    fn note_holes(&mut self) -> Result<()> {
        let (mut live, mut whole) = (HashMap::<u32, Ranges<()>>::new(), 0_u64);
        self.kernel.visit_live(|place, allocation| {
            let (start, end) = (place.address, place.address.saturating_add(allocation.size));
            if place.kind != place::BLOCK {
                whole = whole.saturating_add(end - start);
                live.entry(place.process).or_default().put(Range { start, end }, ());
            }
        })?;
        let mapped = |(slot, live): (&u32, &Ranges<()>)| {
            let owners = self.pages.owners_now(*slot).unwrap_or_default();
            live.iter().map(|(range, ())| owners.mapped(range)).sum::<u64>()
        };
        let holes = whole.saturating_sub(live.iter().map(mapped).sum());
        if holes > 0 {
            let holes = Size(holes);
            self.notes.push(format!(
                "{holes} of the live mappings were unmapped or replaced in their middle, and count \
                 all the same."
            ));
        }
        Ok(())
    }

    /// Tells of memory that processes have taken after their last look, of which their last RSS knows
    /// nothing.
    fn note_late(&mut self) -> Result<()> {
        let (mut sum, mut most, mut count) = (0_u64, (0, 0), 0);
        for target in self.targets.iter().filter(|target| target.ended.is_some()) {
            let late = self.late(target)?;
            sum = sum.saturating_add(late);
            most = most.max((late, target.pid));
            count += u32::from(late > 0);
        }
        let (sum, (_, pid)) = (Size(sum), most);
        let who = match count {
            0 => return Ok(()),
            1 => format!("process {pid} ended than when its RSS was"),
            _ => format!("{count} processes ended, such as {pid}, than when their RSS was"),
        };
        self.notes.push(format!(
            "{sum} more was live when {who} last seen: what is told to be resident may be too little."
        ));
        Ok(())
    }

    /// What a process that has ended had more than when last looked at, if that matters.
    fn late(&self, target: &Target) -> Result<u64> {
        let Some(status) = target.status.as_ref() else { return Ok(0) };
        let live = self.kernel.process_totals(target.slot)?.live_bytes;
        let seen = self.history.last_live(target.slot).unwrap_or_default();
        let late = live.saturating_sub(seen);
        Ok(if late > status.memory.resident / 10 { late } else { 0 })
    }

    /// Of those that run, RSS is known as of now.
    fn catch_up_with(&mut self, slots: &[u32]) {
        for slot in slots {
            let Some(target) = self.targets.get_mut(*slot) else { continue };
            if target.ended.is_none() && !target.is_gone() {
                self.pages.catch_up(*slot);
            } else if let (Some(memory), Some(status)) =
                (self.pages.go_back(*slot), &mut target.status)
            {
                status.memory = memory;
            }
        }
    }

    /// Whose the resident memory of all targets is, by slot.
    pub(super) fn settle_pages(&mut self, live: &Live) -> Vec<(u32, Settled)> {
        let slots = self.targets.slots();
        if let Err(error) = self.note_late() {
            self.notes.push(format!("What processes took at their end: {error:#}."));
        }
        self.settle(&slots, live)
    }

    /// Whose the resident memory of some targets is, by slot.
    pub(super) fn settle(&mut self, slots: &[u32], live: &Live) -> Vec<(u32, Settled)> {
        self.pages.read(&mut self.kernel);
        self.catch_up_with(slots);
        if let Err(error) = self.note_holes() {
            self.notes.push(format!("What was unmapped in part: {error:#}."));
        }
        let mut all = Vec::new();
        for target in slots.iter().filter_map(|slot| self.targets.get(*slot)) {
            let Some(owners) = self.pages.owners(target.slot) else { continue };
            let holders = live.of(target).map(LiveBlocks::holders).unwrap_or_default();
            let (pid, deadline) = (target.pid, Instant::now() + PATIENCE);
            let last = target.status.as_ref().map(|status| by_kind(&status.memory));
            let settled = match Settled::measure(&target.process, owners, &holders, deadline) {
                _ if target.ended.is_some() => Settled::estimate(owners, last),
                Ok(settled) => settled,
                // Its end is still to be told of.
                Err(_) if target.is_gone() => Settled::estimate(owners, last),
                Err(error) => {
                    self.failures.note(pid, &format!("what is resident: {error:#}"));
                    Settled::estimate(owners, last)
                }
            };
            if owners.dropped() > 0 {
                let dropped = owners.dropped();
                self.notes.push(format!(
                    "{dropped} touches of pages of process {pid} found no room; these pages count \
                     for the nearest ones that were recorded."
                ));
            }
            all.push((target.slot, settled));
        }
        all
    }
}
