//! Tracing without an end: processes come and go, and the profile of some of them is wanted while
//! the others go on.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use memtrace_abi::loss::Loss;

use super::{
    super::{fold::Context, history::by_kind},
    Objects, Recorded, Target, Tracer, open,
};
use crate::{
    cli,
    kernel::{Detaching, Kills, detach},
    profile::{ByKind, Point, Timeline},
};

/// The kernel attaches nothing while it takes probes off, so many are taken off at once.
const RETIRED_AT_ONCE: usize = 400;

/// What is to be told of the processes of a profile besides what the tracer knows.
pub struct Told {
    /// Memory over time.
    pub timeline: Timeline,
    /// What their resident memory consisted of.
    pub resident: super::Resident,
    /// What else the reader must know.
    pub notes: Vec<String>,
    /// Times of the profile count from here, since the recorder began.
    pub since: Duration,
}

impl Tracer {
    /// Watches for kills; no process is traced yet.
    pub fn for_recorder(options: &super::Options) -> Result<(Self, Kills)> {
        let mut tracer = Self::load(Objects::with_cache(), options)?;
        let kills = tracer.kernel.watch_kills()?;
        tracer.can_follow = false;
        Ok((tracer, kills))
    }

    /// Begins to trace a process.
    pub fn follow(&mut self, pid: u32) -> Result<()> {
        let process = open(pid, &mut self.objects)?;
        let slot = self.kernel.take_slot()?;
        let mut target = match Target::new(process, slot, false, self.detail) {
            Ok(target) => target,
            Err(error) => return self.kernel.give_slot(slot).and(Err(error)),
        };
        target.begins(self.began.elapsed());
        self.kernel.watch_process(pid, slot)?;
        // What is loaded between the two looks has a probe that tells of it.
        let followed = target
            .refresh(&mut self.kernel, &mut self.objects, &mut self.probes)
            .and_then(|_| target.start(&mut self.kernel, &self.objects, &self.probes));
        if followed.is_err() {
            target.ended = Some(self.began.elapsed());
        }
        self.targets.put(target);
        self.follow_pages(slot, None);
        self.announce(slot);
        followed
    }

    /// The processes that are being traced: slot, target.
    pub fn running(&self) -> impl Iterator<Item = &Target> {
        self.targets.iter().filter(|target| target.ended.is_none())
    }

    /// The target in a slot.
    pub fn target(&self, slot: u32) -> Option<&Target> {
        self.targets.get(slot)
    }

    /// The slot of a process, the latest one if it has had several.
    pub fn slot_of(&self, pid: u32) -> Option<u32> {
        let of_pid = |target: &&Target| target.pid == pid;
        let running = self.targets.iter().filter(of_pid).find(|target| target.ended.is_none());
        let latest = || self.targets.iter().rev().find(of_pid);
        running.or_else(latest).map(|target| target.slot)
    }

    /// Looks at the processes, unless that was done a moment ago; what each has, by slot.
    pub fn look_again(&mut self) -> Result<Option<Vec<(u32, Point)>>> {
        let before = self.next_look;
        self.look()?;
        if self.next_look == before { Ok(None) } else { self.points().map(Some) }
    }

    fn points(&self) -> Result<Vec<(u32, Point)>> {
        let seen = self
            .running()
            .filter_map(|target| Some((target.slot, by_kind(&target.status.as_ref()?.memory))));
        let point = |(slot, resident)| {
            let live = self.kernel.process_totals(slot)?.live_bytes;
            Ok((slot, Point { at: self.began.elapsed(), resident, live }))
        };
        seen.map(point).collect()
    }

    /// The files that processes have mapped.
    pub fn objects(&self) -> Objects {
        self.objects.clone()
    }

    /// What is live in a slot.
    pub fn live_bytes(&self, slot: u32) -> u64 {
        self.kernel.process_totals(slot).map_or(0, |totals| totals.live_bytes)
    }

    /// Notes what the kernel counted of a process when it was killed: nobody saw it later.
    pub fn note_end(&mut self, slot: u32, resident: &ByKind) {
        let target = self.targets.get_mut(slot).filter(|target| target.ended.is_some());
        if let Some(status) = target.and_then(|target| target.status.as_mut()) {
            let ByKind { anonymous, shared, file } = *resident;
            let memory = &mut status.memory;
            (memory.anonymous, memory.shared, memory.file) = (anonymous, shared, file);
            memory.resident = resident.sum();
            self.pages.catch_up(slot);
        }
    }

    /// How long the recorder runs.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// What has been recorded of the processes in these slots, in this order.
    pub fn record_of(&mut self, slots: &[u32], told: Told) -> Result<Recorded<'_>> {
        let live = self.live();
        let pages = self.settle(slots, &live);
        self.meter.update(&self.kernel, false);
        let targets = slots.iter().filter_map(|slot| self.targets.get(*slot));
        let targets: Vec<_> = targets.collect();
        let cost = self.meter.cost(&self.kernel, &targets, &self.pages, self.limit)?;
        Recorded::read(
            &self.kernel,
            Context {
                objects: &self.objects,
                targets,
                codes: &self.codes,
                history: &self.history,
                timeline: told.timeline,
                resident: told.resident,
                pages,
                groups: Vec::new(),
                notes: told.notes,
                heaps: Vec::new(),
                cost,
                detail: self.detail,
                sample_interval: self.sample_interval,
                duration: self.began.elapsed().saturating_sub(told.since),
                started: self.started + told.since,
                since: told.since,
            },
        )
    }

    /// Ended processes that nothing is known of any more once they are forgotten.
    pub fn ended(&self) -> Vec<u32> {
        let ended = self.targets.iter().filter(|target| target.ended.is_some());
        ended.map(|target| target.slot).collect()
    }

    /// Whether the process of a slot was killed, as the kernel programs saw it.
    pub fn was_killed(&self, slot: u32) -> bool {
        self.kernel.is_frozen(slot).unwrap_or(false)
    }

    /// Forgets processes that have ended.
    pub fn forget(&mut self, slots: &[u32]) -> Result<()> {
        let slots: BTreeSet<u32> = slots.iter().copied().collect();
        let has_ended =
            |slot: &u32| self.target(*slot).is_some_and(|target| target.ended.is_some());
        ensure!(slots.iter().all(has_ended), "only what has ended is forgotten");
        let forgotten = self.kernel.forget(&slots)?;
        self.codes.forget(&forgotten.codes);
        self.targets.remove(&slots);
        for slot in slots {
            self.history.forget(slot);
            self.pages.forget(slot);
        }
        Ok(())
    }

    /// What could not be recorded so far.
    pub fn losses(&self) -> Result<Vec<(Loss, u64)>> {
        self.kernel.losses()
    }

    /// Ends all tracing; whoever drops what is returned waits until all probes are off.
    pub fn shut_down(&mut self) -> Result<Vec<Detaching>> {
        for slot in self.targets.slots() {
            self.kernel.stop(slot)?;
        }
        let probes = self.take_probes();
        self.detaching.extend(detach(probes));
        Ok(std::mem::take(&mut self.detaching))
    }

    /// Takes probes of processes that have ended off, if they are many.
    pub fn tidy_seldom(&mut self) {
        self.detaching.retain_mut(|detaching| !detaching.is_over());
        if self.retired.len() > RETIRED_AT_ONCE && self.detaching.is_empty() {
            self.detaching.extend(detach(std::mem::take(&mut self.retired)));
        }
    }

    /// What went wrong lately, for the user.
    pub fn say_notes(&mut self) {
        self.notes.extend(self.failures.take());
        self.notes.drain(..).for_each(|note| cli::say(&note));
    }
}
