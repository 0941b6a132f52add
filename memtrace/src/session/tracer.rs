//! The loaded kernel programs and the processes that they watch.

use std::{
    thread::JoinHandle,
    time::{Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use memtrace_abi::event::{Change, kind};

use super::{Options, codes::Codes, cost::Meter, fold::Recorded, progress::State, target::Target};
use crate::{
    kernel::{self, Event, Events, Kernel, Log},
    objects::Objects,
    process::Process,
};

/// Rows beyond those of the first targets: libraries that are loaded later.
const SPARE_ROWS: usize = 4 << 20;

/// Everything that a session holds while it runs.
pub struct Tracer {
    kernel: Kernel,
    objects: Objects,
    targets: Vec<Target>,
    codes: Codes,
    meter: Meter,
    notes: Vec<String>,
    sample_interval: u64,
    verbose: bool,
    began: Instant,
    started: SystemTime,
    detaching: Vec<JoinHandle<()>>,
}

impl Tracer {
    /// Attaches to running processes. One that cannot be traced is noted; it is an error if none
    /// can be.
    pub fn attach(pids: &[u32], options: &Options) -> Result<Self> {
        let mut objects = Objects::new();
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for pid in pids {
            match open(*pid, &mut objects) {
                Ok(process) => found.push(process),
                Err(error) => failed.push(error),
            }
        }
        if found.is_empty() {
            return Err(failed.swap_remove(0));
        }
        let mut tracer = Self::load(objects, options)?;
        tracer.notes = failed.iter().map(|error| format!("not traced: {error:#}")).collect();
        for process in found {
            tracer.add(process, false)?;
        }
        tracer.start()?;
        Ok(tracer)
    }

    /// Watches a process that is about to become a command.
    pub fn for_command(pid: u32, options: &Options) -> Result<Self> {
        let mut tracer = Self::load(Objects::new(), options)?;
        let process = Process::open(pid)?;
        // No probes yet: only the moment in which the command begins is waited for.
        let mut target = Target::new(process, 0, true)?;
        target.start(&mut tracer.kernel, &tracer.objects)?;
        tracer.kernel.watch_process(pid, target.slot)?;
        tracer.targets.push(target);
        Ok(tracer)
    }

    fn load(objects: Objects, options: &Options) -> Result<Self> {
        let kernel = Kernel::load(&kernel::Options {
            max_live: options.max_live,
            max_stacks: options.max_stacks,
            max_rows: (objects.row_count() + SPARE_ROWS) as u32,
            sample_interval: options.sample_interval,
        })?;
        let meter = Meter::start(&kernel);
        Ok(Self {
            kernel,
            objects,
            targets: Vec::new(),
            codes: Codes::default(),
            meter,
            notes: Vec::new(),
            sample_interval: options.sample_interval,
            verbose: options.verbose,
            began: Instant::now(),
            started: SystemTime::now(),
            detaching: Vec::new(),
        })
    }

    /// Attaches to a process; nothing is recorded yet.
    fn add(&mut self, process: Process, paused_on_change: bool) -> Result<()> {
        let slot = self.targets.len() as u32;
        let mut target = Target::new(process, slot, paused_on_change)?;
        target.refresh(&mut self.kernel, &mut self.objects)?;
        self.kernel.watch_process(target.pid(), slot)?;
        self.targets.push(target);
        Ok(())
    }

    /// Begins to record all targets.
    fn start(&mut self) -> Result<()> {
        (self.began, self.started) = (Instant::now(), SystemTime::now());
        for target in &mut self.targets {
            target.start(&mut self.kernel, &self.objects)?;
        }
        Ok(())
    }

    /// Tells whoever waits for it that everything from now on is recorded.
    pub fn announce(&self) {
        for target in &self.targets {
            self.tell("tracing", target.pid());
        }
    }

    #[expect(clippy::print_stderr, reason = "the user asked for it")]
    fn tell(&self, what: &str, pid: u32) {
        if self.verbose {
            eprintln!("memtrace: {what} process {pid}");
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
        let mut unmapped = Vec::new();
        for event in events {
            match event {
                Event::Code(code, lines) => self.codes.add(&code, &lines),
                // Many at once are answered by one look at the process.
                Event::Change(change) if change.kind == kind::UNMAPPED => {
                    if !unmapped.contains(&change.process) {
                        unmapped.push(change.process);
                    }
                }
                Event::Change(change) => self.handle_change(change),
            }
        }
        for slot in unmapped {
            self.refresh(slot);
        }
    }

    fn handle_change(&mut self, change: Change) {
        match change.kind {
            kind::LIBRARIES => self.refresh(change.process),
            kind::EXIT => self.end(change.process),
            kind::EXEC => {
                self.end(change.process);
                if let Err(error) = self.follow_exec(change.pid, change.process) {
                    self.notes.push(format!("process {}: {error:#}", change.pid));
                }
            }
            _ => {}
        }
        if change.paused != 0 {
            resume(change.pid);
        }
    }

    /// The process is the same, but everything in it is new.
    fn follow_exec(&mut self, pid: u32, old: u32) -> Result<()> {
        let paused = self.targets.get(old as usize).is_some_and(Target::is_paused_on_change);
        let process = Process::open(pid)?;
        self.add(process, paused)?;
        let target = self.targets.last_mut().context("a target was added")?;
        target.start(&mut self.kernel, &self.objects)?;
        self.tell("tracing", pid);
        Ok(())
    }

    fn refresh(&mut self, slot: u32) {
        let Some(target) = self.targets.get_mut(slot as usize) else { return };
        if target.ended.is_some() {
            return;
        }
        let pid = target.pid();
        match target.refresh(&mut self.kernel, &mut self.objects) {
            Ok(true) => self.tell("other libraries in", pid),
            Err(error) if target.process.check().is_ok() => {
                self.notes.push(format!("process {pid}: {error:#}"));
            }
            Ok(false) | Err(_) => {}
        }
    }

    fn end(&mut self, slot: u32) {
        if let Some(target) = self.targets.get_mut(slot as usize) {
            target.ended = Some(self.began.elapsed());
            self.detaching.push(kernel::detach(target.take_probes()));
        }
    }

    /// Whether every target has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.targets.iter().all(|target| target.ended.is_some())
    }

    /// What can be told now; also lets the targets be looked at once more while they exist.
    pub fn state(&mut self) -> Result<State> {
        let mut state = State { elapsed: self.began.elapsed(), ..State::default() };
        for target in &mut self.targets {
            target.look();
            let totals = self.kernel.process_totals(target.slot)?;
            state.live_bytes += totals.live_bytes;
            state.allocations += totals.allocations;
        }
        state.losses = self.kernel.losses()?.iter().map(|(_, count)| count).sum();
        self.meter.tick(&self.kernel, self.began.elapsed());
        Ok(state)
    }

    /// Ends the tracing. Nothing is recorded any more when this returns; the threads take the
    /// probes off.
    pub fn finish(mut self) -> Result<(Recorded, Vec<JoinHandle<()>>)> {
        let duration = self.began.elapsed();
        for target in &mut self.targets {
            self.kernel.stop(target.slot)?;
            target.look();
        }
        let cost = self.meter.finish(&mut self.kernel, &self.targets)?;
        let probes = self.targets.iter_mut().flat_map(Target::take_probes).collect();
        self.detaching.push(kernel::detach(probes));
        let recorded = Recorded::read(
            &self.kernel,
            super::fold::Context {
                objects: self.objects,
                targets: self.targets,
                codes: self.codes,
                notes: self.notes,
                cost,
                sample_interval: self.sample_interval,
                duration,
                started: self.started,
            },
        )?;
        Ok((recorded, self.detaching))
    }
}

/// Opens a process and reads what it has mapped.
fn open(pid: u32, objects: &mut Objects) -> Result<Process> {
    let process = Process::open(pid)?;
    objects.learn(&process, &process.mappings()?);
    Ok(process)
}

/// Lets a process go on that was paused for memtrace.
fn resume(pid: u32) {
    // SAFETY: the call takes two integers; the process is memtrace's own child.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGCONT) };
}
