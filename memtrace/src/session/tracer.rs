//! The loaded kernel programs and the processes that they watch.

mod announcement;
mod failures;
mod follow;
mod groups;
mod heaps;
mod killed;
mod live;
mod looks;
mod pages;
mod recorder;
mod select;
mod sharing;
mod unseen;

use std::{
    collections::BTreeSet,
    mem,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Error, Result, anyhow};
use memtrace_abi::event::kind;

use super::{
    Detail, Options,
    budget::Watch,
    codes::Codes,
    cost::Meter,
    fold::Recorded,
    history::History,
    inheritance::Estates,
    pages::Pages,
    probes::Probes,
    progress::State,
    target::{NoAllocator, Target},
    targets::Targets,
};
use crate::{
    cli,
    kernel::{self, Detaching, Event, Events, Kernel, Log, Probe},
    objects::Objects,
    process::{Process, unusable::Unusable},
    profile::BasisPoints,
};
use announcement::Announcement;
use failures::Failures;
pub use looks::Resident;
pub use recorder::Told;
use select::Selection;
use unseen::unseen;

/// Rows beyond those of the first targets: libraries that are loaded later.
const SPARE_ROWS: usize = 4 << 20;

/// Distinct stacks for which there is room, and the same where each child has its own.
const STACKS: u32 = 1 << 17;
const TREE_STACKS: u32 = 1 << 19;

/// The kernel attaches nothing while it detaches, so a script that executes one interpreter after
/// the other must have come to rest.
const QUIET: Duration = Duration::from_secs(2);

/// Everything that a session holds while it runs.
pub struct Tracer {
    kernel: Kernel,
    objects: Objects,
    targets: Targets,
    selection: Option<Selection>,
    probes: Probes,
    /// The probes' share of the time of all targets, if they share them.
    watch: Watch,
    codes: Codes,
    pages: Pages,
    meter: Meter,
    history: History,
    next_look: Instant,
    next_look_at_sharing: Instant,
    /// Of each target's CPU time; `None`: the probes stay, whatever they cost.
    limit: Option<BasisPoints>,
    notes: Vec<String>,
    failures: Failures,
    detail: Detail,
    sample_interval: u64,
    verbose: bool,
    log: killed::Log,
    /// Whether there is an option that makes it follow children.
    can_follow: bool,
    announcement: Announcement,
    began: Instant,
    started: SystemTime,
    /// Probes of processes that have ended.
    retired: Vec<Probe>,
    last_end: Instant,
    detaching: Vec<Detaching>,
}

impl Tracer {
    /// Attaches to running processes; returns what is known of their files as well. One that cannot
    /// be traced is noted; it is an error if none can be.
    pub fn attach(pids: &[u32], options: &Options) -> Result<(Self, Objects)> {
        let mut objects = Objects::with_cache();
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for pid in pids.iter().filter(|pid| seen.insert(**pid)) {
            match open(*pid, &mut objects) {
                Ok(process) => found.push(process),
                Err(error) => refused.push(error),
            }
        }
        if found.is_empty() {
            return Err(say_all_but_last(refused));
        }
        let known = objects.clone();
        let mut tracer = Self::load(objects, options)?;
        for process in found {
            if let Err(error) = tracer.add(process.clone()) {
                refused.push(process.check().err().map_or(error, Error::from));
            }
        }
        if tracer.targets.is_empty() {
            return Err(say_all_but_last(refused));
        }
        // The user must know in time, and the reader of the report as well.
        tracer.notes.extend(refused.iter().map(|error| format!("not traced: {error:#}")));
        tracer.notes.iter().for_each(|note| cli::say(note));
        for target in tracer.targets.iter().filter(|target| !target.has_allocator()) {
            cli::say(&format!("{}, so far", NoAllocator::of(target)));
        }
        tracer.start()?;
        Ok((tracer, known))
    }

    /// Watches a process that is about to become a command.
    pub fn for_command(pid: u32, options: &Options) -> Result<Self> {
        let mut tracer = Self::load(Objects::with_cache(), options)?;
        let process = Process::open(pid)?;
        // No probes yet: only the moment in which the command begins is waited for.
        let slot = tracer.kernel.take_slot()?;
        let mut target = Target::new(process, slot, true, options.detail)?;
        target.awaits_command = true;
        tracer.kernel.watch_process(pid, target.slot)?;
        target.start(&mut tracer.kernel, &tracer.objects, &tracer.probes)?;
        tracer.targets.put(target);
        Ok(tracer)
    }

    fn load(objects: Objects, options: &Options) -> Result<Self> {
        // Without probes, nothing is sampled.
        let is_sampled = options.detail == Detail::Full;
        let sample_interval = if is_sampled { options.sample_interval } else { 0 };
        let default_stacks = if options.follows() { TREE_STACKS } else { STACKS };
        let mut kernel = Kernel::load(&kernel::Options {
            max_live: options.max_live,
            max_stacks: options.max_stacks.unwrap_or(default_stacks),
            max_rows: (objects.row_count() + SPARE_ROWS) as u32,
            sample_interval,
        })?;
        let meter = Meter::start(&mut kernel, options.detail)?;
        let mut notes = Vec::new();
        let probes = follow::prepare(&mut kernel, options, &mut notes)?;
        Ok(Self {
            kernel,
            objects,
            targets: Targets::default(),
            selection: None,
            probes,
            watch: Watch::default(),
            codes: Codes::default(),
            pages: Pages::default(),
            meter,
            history: History::default(),
            next_look: Instant::now(),
            next_look_at_sharing: Instant::now(),
            limit: options.max_overhead,
            notes,
            failures: Failures::default(),
            detail: options.detail,
            sample_interval,
            verbose: options.verbose,
            log: killed::Log::open(),
            can_follow: true,
            announcement: Announcement::new(options),
            began: Instant::now(),
            started: SystemTime::now(),
            retired: Vec::new(),
            last_end: Instant::now(),
            detaching: Vec::new(),
        })
    }

    /// Attaches to a process; nothing is recorded yet. Returns its slot.
    fn add(&mut self, process: Process) -> Result<u32> {
        let slot = self.kernel.take_slot()?;
        let mut target = Target::new(process, slot, false, self.detail)?;
        target.refresh(&mut self.kernel, &mut self.objects, &mut self.probes)?;
        target.check_plan()?;
        self.kernel.watch_process(target.pid, slot)?;
        self.targets.put(target);
        Ok(slot)
    }

    /// Begins to record all targets. An error if all have ended.
    fn start(&mut self) -> Result<()> {
        (self.began, self.started) = (Instant::now(), SystemTime::now());
        let mut gone = None;
        for slot in self.targets.slots() {
            let Some(target) = self.targets.get_mut(slot) else { continue };
            if let Err(error) = target.start(&mut self.kernel, &self.objects, &self.probes) {
                gone = Some(target.process.check().err().ok_or(error)?);
                self.end(slot);
            }
            self.follow_pages(slot, None);
            self.announce(slot);
        }
        match gone {
            Some(gone) if self.is_over() => Err(gone.into()),
            _ => Ok(()),
        }
    }

    fn announce(&mut self, slot: u32) {
        if let Some(target) = self.targets.get(slot) {
            self.announcement.tell_of(target);
        }
    }

    /// The events; can be taken once.
    pub fn events(&mut self) -> Result<Events> {
        self.kernel.events()
    }

    /// The log of the kernel programs; can be taken once.
    pub fn log(&mut self, verbose: bool) -> Result<Log> {
        self.kernel.log(verbose)
    }

    /// Handles all events that have come in.
    pub fn handle(&mut self, events: &mut Events) {
        // Many at once are answered by one look at the process.
        let (mut unmapped, mut estates) = (BTreeSet::new(), Estates::default());
        for event in events {
            match event {
                Event::Code(code, lines) => self.codes.add(&code, &lines),
                Event::Change(change) if change.kind == kind::UNMAPPED => {
                    unmapped.insert(change.process);
                }
                Event::Change(change) => self.handle_change(change, &mut estates),
            }
        }
        for slot in unmapped {
            self.refresh(slot);
        }
    }

    /// Tells the reader of the report what went wrong with a process.
    fn note_failure(&mut self, pid: u32, error: &Error) {
        if error.is::<Unusable>() || error.is::<NoAllocator>() {
            // It names the process.
            self.notes.push(error.to_string());
        } else {
            self.failures.note(pid, &format!("{error:#}"));
        }
    }

    fn refresh(&mut self, slot: u32) {
        let Some(target) = self.targets.get_mut(slot) else { return };
        if target.ended.is_some() {
            return;
        }
        let had_allocator = target.has_allocator();
        let pid = target.pid;
        match target.refresh(&mut self.kernel, &mut self.objects, &mut self.probes) {
            Ok(true) if self.verbose => cli::say(&format!("other libraries in process {pid}")),
            Err(error) if target.process.check().is_ok() => self.note_failure(pid, &error),
            Ok(_) | Err(_) => {}
        }
        if !had_allocator {
            self.announce(slot);
        }
    }

    /// Whether this is news.
    fn end(&mut self, slot: u32) -> bool {
        let target = self.targets.get_mut(slot).filter(|target| target.ended.is_none());
        let Some(target) = target else { return false };
        target.ended = Some(self.began.elapsed());
        // The kernel has done so, unless it did not see the end.
        if let Err(error) = self.kernel.stop(slot) {
            self.failures.note(target.pid, &format!("{error:#}"));
        }
        self.retired.extend(target.take_probes());
        self.kernel.forget_mappings(slot);
        self.pages.leave(&mut self.kernel, slot);
        self.last_end = Instant::now();
        true
    }

    /// Whether every target has ended, or become a program that cannot be traced.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let is_over = |target: &Target| target.ended.is_some() || target.refusal.is_some();
        self.selection.is_none() && self.targets.iter().all(is_over)
    }

    /// Takes the probes of processes that have ended off, once there is time for it.
    pub fn tidy(&mut self) {
        if !self.retired.is_empty() && self.last_end.elapsed() > QUIET {
            self.detaching.extend(kernel::detach(mem::take(&mut self.retired)));
        }
    }

    /// All probes that there are or were.
    fn take_probes(&mut self) -> Vec<Probe> {
        let mut probes = mem::take(&mut self.retired);
        probes.extend(self.kernel.spent_probes());
        probes.extend(self.targets.iter_mut().flat_map(Target::take_probes));
        probes.extend(self.probes.take());
        probes
    }

    /// What the reader must know of the targets at the end.
    fn note_the_end(&mut self) {
        self.notes.extend(self.failures.take());
        self.notes.extend(unseen(&self.targets));
        self.notes.extend(self.log.killed(&self.targets));
        self.notes.extend(groups::own_share());
    }

    /// Ends the tracing. Nothing is recorded any more when this returns, and the probes are
    /// being taken off.
    pub fn finish(&mut self, needs_heaps: bool) -> Result<(Recorded<'_>, Vec<Detaching>)> {
        let duration = self.began.elapsed();
        for target in self.targets.iter_mut() {
            self.kernel.stop(target.slot)?;
            target.read_command();
        }
        self.notes.extend(self.selection.take().into_iter().flat_map(Selection::into_notes));
        self.look_now()?;
        let live = self.live();
        let pages = self.settle_pages(&live);
        let heaps = if needs_heaps { self.read_heaps()? } else { Vec::new() };
        let resident = self.resident(&heaps, &live);
        self.note_the_end();
        self.meter.update(&self.kernel, true);
        let targets: Vec<_> = self.targets.iter().collect();
        let cost = self.meter.cost(&self.kernel, &targets, &self.pages, self.limit)?;
        let probes = self.take_probes();
        self.detaching.extend(kernel::detach(probes));
        let recorded = Recorded::read(
            &self.kernel,
            super::fold::Context {
                objects: &self.objects,
                targets: self.targets.iter().collect(),
                codes: &self.codes,
                history: &self.history,
                timeline: self.history.timeline(),
                resident,
                pages,
                groups: self.groups(),
                notes: mem::take(&mut self.notes),
                heaps,
                cost,
                detail: self.detail,
                sample_interval: self.sample_interval,
                duration,
                started: self.started,
                since: Duration::ZERO,
            },
        )?;
        Ok((recorded, mem::take(&mut self.detaching)))
    }
}

/// One error is left for the caller.
fn say_all_but_last(mut refused: Vec<Error>) -> Error {
    let last = refused.pop().unwrap_or_else(|| anyhow!("no process was named"));
    for error in refused {
        cli::say(&format!("{error:#}"));
    }
    last
}

/// Opens a process and reads what it has mapped.
fn open(pid: u32, objects: &mut Objects) -> Result<Process> {
    let process = Process::open(pid)?;
    // It may have ended meanwhile.
    let why = |error| process.check().err().map_or(error, Error::from);
    objects.learn(&process, &process.mappings().map_err(why)?);
    Ok(process)
}
