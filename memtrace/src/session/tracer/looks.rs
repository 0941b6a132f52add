//! What is looked at while tracing and at its end: how the targets are, what they have in memory,
//! and what probing costs them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{
    super::{
        budget::{Price, Reading, Watch},
        fragmentation::Fragmentation,
        target::Target,
    },
    State, Tracer, heaps,
    live::Live,
};
use crate::{
    decomposition::{self, Look},
    kernel,
    process::host,
    profile::{Amount, BasisPoints, Decomposition, Segment, Shed},
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
    /// Live memory that is not resident, by slot and stack.
    pub absent: HashMap<u32, HashMap<u64, Amount>>,
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
        self.pages.read(&mut self.kernel);
        for slot in self.targets.slots() {
            let Some(target) = self.targets.get_mut(slot) else { continue };
            if target.ended.is_some() {
                continue;
            }
            if target.look()
                && let Some(status) = &target.status
            {
                self.pages.note_look(slot, status.memory);
            }
            if target.is_gone() {
                self.end(slot);
            }
            let Some(target) = self.targets.get(slot) else { continue };
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
        for target in self.targets.iter() {
            let totals = self.kernel.process_totals(target.slot)?;
            state.live_bytes += totals.live_bytes;
            state.allocations += totals.allocations;
            hits += totals.calls + totals.release_calls;
            if !self.probes.follow() && target.ended.is_none() && target.shed.is_none() {
                state.share = state.share.max(Some(target.watch.share()));
            }
        }
        if self.probes.follow() {
            state.share = Some(self.watch.share());
        }
        state.losses = self.kernel.losses()?.iter().map(|(_, count)| count).sum();
        self.meter.tick(&self.kernel, self.began.elapsed(), hits);
        Ok(state)
    }

    /// Takes the probes off those targets for which they cost too much; returns what the user must
    /// know.
    pub fn keep_within_budget(&mut self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        if self.probes.follow() {
            return self.keep_tree_within_budget();
        }
        for slot in self.targets.slots() {
            if let Some(shed) = self.watch(slot)? {
                self.shed(slot, shed)?;
                let target = self.targets.get(slot);
                said.extend(target.map(|target| announcement(target, &shed)));
            }
        }
        Ok(said)
    }

    fn watch(&mut self, slot: u32) -> Result<Option<Shed>> {
        let Some(target) = self.targets.get(slot).filter(|target| target.is_probed()) else {
            return Ok(None);
        };
        let (reading, price) = (self.reading(target)?, self.meter.price(target));
        let limit = self.limit.unwrap_or(BasisPoints(u32::MAX));
        let Some(target) = self.targets.get_mut(slot) else { return Ok(None) };
        Ok(target.watch.observe(reading, price, limit))
    }

    fn reading(&self, target: &Target) -> Result<Reading> {
        let totals = self.kernel.process_totals(target.slot)?;
        let (calls, releases) = (totals.calls, totals.release_calls);
        Ok(Reading { at: self.began.elapsed(), used: target.used(), calls, releases })
    }

    /// Goes on without the probes of a target. Nothing is counted any more when this returns; a
    /// process of its own takes the probes off.
    fn shed(&mut self, slot: u32, shed: Shed) -> Result<()> {
        let Some(target) = self.targets.get_mut(slot) else { return Ok(()) };
        let probes = target.shed(&mut self.kernel, shed)?;
        self.detaching.extend(kernel::detach(probes));
        Ok(())
    }

    /// Processes that inherit their probes from each other keep or lose them together: a probe is one
    /// for all of them, and of a trap that finds nothing to do most of the price is left.
    fn keep_tree_within_budget(&mut self) -> Result<Vec<String>> {
        let Some(shed) = self.watch_all()? else { return Ok(Vec::new()) };
        let probed = self.targets.iter().filter(|target| target.is_probed());
        let slots: Vec<_> = probed.map(|target| target.slot).collect();
        for slot in &slots {
            self.shed(*slot, shed)?;
        }
        self.detaching.extend(kernel::detach(self.probes.take()));
        let most = self.targets.iter().max_by_key(|target| target.watch.spent());
        let most =
            most.map(|target| shedding::most(target.pid, &target.comm, target.watch.share()));
        let most = most.filter(|_| slots.len() > 1).unwrap_or_default();
        let said = match *slots {
            [only] => self.targets.get(only).map(|target| announcement(target, &shed)),
            _ => Some(shedding::announcement_of_all(slots.len() as u64, &shed, &most)),
        };
        if !most.is_empty() {
            self.notes.push(format!("The processes shared their probes; {most}."));
        }
        Ok(said.into_iter().collect())
    }

    /// Watches the share of the probes that all have together, and for its cause each one's.
    fn watch_all(&mut self) -> Result<Option<Shed>> {
        let mut sum = Reading { at: self.began.elapsed(), ..Reading::default() };
        let mut spent = Price::default();
        for slot in self.targets.slots() {
            let Some(target) = self.targets.get(slot) else { continue };
            let (reading, price) = (self.reading(target)?, self.meter.price(target));
            sum.used += reading.used;
            sum.calls += reading.calls;
            sum.releases += reading.releases;
            spent.call += reading.calls.saturating_mul(price.call);
            spent.release += reading.releases.saturating_mul(price.release);
            if let Some(target) = self.targets.get_mut(slot) {
                target.watch.observe(reading, price, BasisPoints(u32::MAX));
            }
        }
        if !self.targets.iter().any(Target::is_probed) {
            // Nobody has been dear while nobody was there.
            self.watch = Watch::since(sum);
            return Ok(None);
        }
        let limit = self.limit.unwrap_or(BasisPoints(u32::MAX));
        let usual = Price {
            call: spent.call / sum.calls.max(1),
            release: spent.release / sum.releases.max(1),
        };
        Ok(self.watch.observe(sum, usual, limit))
    }

    /// What the resident memory of those that have not ended consists of. Their recording has been
    /// stopped.
    pub(super) fn resident(&mut self, heaps: &[(u32, Fragmentation)], live: &Live) -> Resident {
        let (deadline, heap_deadline) =
            (Instant::now() + PATIENCE, Instant::now() + heaps::PATIENCE);
        let mut looks = Vec::new();
        for target in self.targets.iter().filter(|target| target.ended.is_none()) {
            let read = heaps.iter().find(|(slot, _)| *slot == target.slot);
            let read = read.map(|(_, heap)| heap.total);
            let heap = read.or_else(|| heaps::account(&target.process, heap_deadline));
            let objects = &self.objects;
            match within(deadline, || {
                Look::at(&target.process, objects, live.of(target), heap.as_ref())
            }) {
                Ok(look) => looks.push((target.slot, look)),
                Err(error) if target.process.check().is_ok() => {
                    self.notes.push(format!("What the RSS consists of is not known: {error:#}."));
                }
                Err(_) => {}
            }
        }
        self.look_at_sharing_now();
        let index = |slot| self.targets.index(slot).map(|index| index as u32);
        let by_index: Vec<_> =
            looks.iter().filter_map(|(slot, look)| Some((index(*slot)?, look))).collect();
        let segments = decomposition::segments(&by_index);
        let mut resident = Resident { segments, ..Resident::default() };
        for (slot, look) in looks {
            resident.decompositions.insert(slot, look.decomposition);
            resident.absent.insert(slot, look.absent);
        }
        resident
    }
}

fn within<T>(deadline: Instant, work: impl FnOnce() -> Result<T>) -> Result<T> {
    anyhow::ensure!(Instant::now() < deadline, "others took too long");
    work()
}

/// In the time of the process.
fn announcement(target: &Target, shed: &Shed) -> String {
    shedding::announcement(target.pid, &target.comm, &shed.since(target.began))
}
