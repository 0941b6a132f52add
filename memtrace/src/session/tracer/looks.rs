//! What is looked at while tracing and at its end: how the targets are, what they have in memory,
//! and what probing costs them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{super::budget::Reading, State, Tracer};
use crate::{
    decomposition::{self, LiveBlocks, Look},
    kernel,
    process::host,
    profile::{BasisPoints, Decomposition, Segment, Shed},
    report::shedding,
};

/// How often memory is looked at, at most.
const INTERVAL: Duration = Duration::from_millis(100);
/// Of many processes a look takes longer; this many times as long nothing is looked at then.
const REST: u32 = 50;
/// Time for the looks at the end. Processes that do not answer could take two seconds each.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the resident memory of the targets consists of, at the end.
#[derive(Default)]
pub struct Resident {
    /// By slot.
    pub decompositions: HashMap<u32, Decomposition>,
    /// Shared memory.
    pub segments: Vec<Segment>,
}

impl Tracer {
    /// Looks at the targets, if it is time to.
    pub fn look(&mut self) -> Result<()> {
        let start = Instant::now();
        if start < self.next_look {
            return Ok(());
        }
        self.look_now()?;
        self.next_look = start + INTERVAL.max(start.elapsed() * REST);
        Ok(())
    }

    /// Looks at the targets. Also notices ends of which there was no event, because a process was
    /// faster than its attaching, or because the kernel knows it by another id.
    pub(super) fn look_now(&mut self) -> Result<()> {
        for slot in 0..self.targets.len() {
            let target = &mut self.targets[slot];
            target.look();
            if target.is_gone() {
                self.end(slot as u32);
            }
            let target = &self.targets[slot];
            let status = target.status.as_ref().filter(|_| target.ended.is_none());
            // A child that has not become the command yet is no target.
            if let Some(status) = status.filter(|_| target.has_allocator()) {
                let totals = self.kernel.process_totals(target.slot)?;
                self.history.note(target.slot, host::time_since_boot(), &status.memory, &totals);
            }
        }
        self.history.close(self.began.elapsed());
        Ok(())
    }

    /// What can be told now.
    pub fn state(&mut self) -> Result<State> {
        let mut state = State { elapsed: self.began.elapsed(), ..State::default() };
        let mut hits = 0;
        for target in &self.targets {
            let totals = self.kernel.process_totals(target.slot)?;
            state.live_bytes += totals.live_bytes;
            state.allocations += totals.allocations;
            hits += totals.calls + totals.release_calls;
            if target.ended.is_none() && target.shed.is_none() {
                state.share = state.share.max(Some(target.watch.share()));
            }
        }
        state.losses = self.kernel.losses()?.iter().map(|(_, count)| count).sum();
        self.meter.tick(&self.kernel, self.began.elapsed(), hits);
        Ok(state)
    }

    /// Takes the probes off those targets for which they cost too much; returns what the user must
    /// know.
    pub fn keep_within_budget(&mut self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for slot in 0..self.targets.len() {
            if let Some(shed) = self.watch(slot)? {
                said.push(self.shed(slot, shed)?);
            }
        }
        Ok(said)
    }

    fn watch(&mut self, slot: usize) -> Result<Option<Shed>> {
        let target = &self.targets[slot];
        if target.ended.is_some() || target.shed.is_some() || !target.has_allocator() {
            return Ok(None);
        }
        let totals = self.kernel.process_totals(target.slot)?;
        let reading = Reading {
            at: self.began.elapsed(),
            used: target.used(),
            calls: totals.calls,
            releases: totals.release_calls,
        };
        let price = self.meter.price(target);
        let limit = self.limit.unwrap_or(BasisPoints(u32::MAX));
        Ok(self.targets[slot].watch.observe(reading, price, limit))
    }

    /// Goes on without the probes of a target. Nothing is counted any more when this returns; a
    /// thread takes the probes off.
    fn shed(&mut self, slot: usize, shed: Shed) -> Result<String> {
        let target = &mut self.targets[slot];
        let probes = target.shed(&mut self.kernel, shed)?;
        self.detaching.push(kernel::detach(probes));
        Ok(shedding::announcement(target.pid(), &target.comm, &shed))
    }

    /// What the resident memory of those that have not ended consists of. Their recording has been
    /// stopped.
    pub(super) fn resident(&mut self) -> Resident {
        let deadline = Instant::now() + PATIENCE;
        let live = self.live_blocks();
        let mut looks = Vec::new();
        for target in self.targets.iter().filter(|target| target.ended.is_none()) {
            // Since its probes are off, nobody knows what is live.
            let known = live.as_ref().filter(|_| target.shed.is_none());
            let none = LiveBlocks::default();
            let live = known.map(|live| live.get(&target.slot).unwrap_or(&none));
            match within(deadline, || Look::at(&target.process, live)) {
                Ok(look) => looks.push((target.slot, look)),
                Err(error) if target.process.check().is_ok() => {
                    self.notes.push(format!("What the RSS consists of is not known: {error:#}."));
                }
                Err(_) => {}
            }
        }
        let by_slot: Vec<_> = looks.iter().map(|(slot, look)| (*slot, look)).collect();
        let segments = decomposition::segments(&by_slot);
        let decompositions = looks.into_iter().map(|(slot, look)| (slot, look.decomposition));
        Resident { decompositions: decompositions.collect(), segments }
    }

    /// By slot.
    fn live_blocks(&mut self) -> Option<HashMap<u32, LiveBlocks>> {
        let mut blocks: HashMap<u32, LiveBlocks> = HashMap::new();
        let visited = self.kernel.visit_live(|place, allocation| {
            blocks.entry(place.process).or_default().add(place.address, &allocation);
        });
        match visited {
            Ok(()) => Some(blocks),
            Err(error) => {
                self.notes.push(format!("How much of the live memory is resident: {error:#}."));
                None
            }
        }
    }
}

fn within<T>(deadline: Instant, work: impl FnOnce() -> Result<T>) -> Result<T> {
    anyhow::ensure!(Instant::now() < deadline, "others took too long");
    work()
}
