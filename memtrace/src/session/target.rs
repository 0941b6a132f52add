//! One process under observation: what the kernel programs are told about it, and its probes.

mod blind;
mod code;
mod planning;
mod succession;

use std::{collections::HashSet, mem, rc::Rc, time::Duration};

use anyhow::Result;
use memtrace_abi::{
    mapping::Mapping,
    process::{Process as Slot, state},
    python::Python,
};

use super::{
    Detail,
    budget::{Reading, Watch},
    inheritance::Inheritance,
    probes::Probes,
};
use crate::{
    attach::plan::{Probe as PlannedProbe, Program},
    kernel::{Kernel, Probe},
    objects::{Known, NO_SPECIFIC, Objects},
    process::{
        Process,
        mappings::Mappings,
        status::Status,
        unusable::{Reason, Unusable},
    },
    profile::Shed,
};

pub use self::blind::NoAllocator;

/// A traced process.
pub struct Target {
    /// Its slot in the kernel.
    pub slot: u32,
    /// Process id.
    pub pid: u32,
    /// The process; of one that ended too soon to be seen, the one that forked it.
    pub process: Process,
    /// The service, container or pod that it belongs to.
    pub place: Option<String>,
    /// The command line of its parent, of whom it is a copy.
    pub forked_from: Option<String>,
    /// Process id of the followed process that it is a child of.
    pub parent: Option<u32>,
    /// What it had from its parent when it was forked.
    pub inheritance: Option<Rc<Inheritance>>,
    /// Its short name when last seen.
    pub comm: String,
    /// Its arguments.
    pub command: String,
    /// Version of its interpreter.
    pub python: Option<String>,
    /// What else the reader of a report must know.
    pub notes: Vec<String>,
    /// When its tracing began, since the tracer did.
    pub began: Duration,
    /// CPU time it had used when tracing began.
    pub cpu_before: Duration,
    /// How it was when last seen.
    pub status: Option<Status>,
    /// When it ended, since tracing began.
    pub ended: Option<Duration>,
    /// Why it cannot be traced, if it became a program that cannot.
    pub refusal: Option<Unusable>,
    /// The probes' share of its time.
    pub watch: Watch,
    /// When and why its probes were taken off, if they were.
    pub shed: Option<Shed>,
    /// The probes it has or had.
    pub plan_in_use: Vec<PlannedProbe>,
    /// When it was read, if another traced program has executed it, since the tracer began. Whoever was
    /// found was read before anything was recorded.
    pub executed: Option<Duration>,
    /// Whether it is a child of memtrace that will become a command.
    pub awaits_command: bool,
    detail: Detail,
    probes: Vec<Probe>,
    paused_on_change: bool,
    traced: bool,
    /// [`Process::program_mark`].
    program: u64,
    code: Vec<Mapping>,
    /// How often it had given up code before the kernel was asked for its mappings.
    code_given_up: u64,
    /// What was there before.
    past_code: Vec<Mapping>,
    planned: HashSet<u32>,
    /// Objects whose probes it has inherited or been given.
    covered: HashSet<u32>,
}

impl Target {
    /// A process that is not traced yet.
    pub fn new(
        process: Process,
        slot: u32,
        paused_on_change: bool,
        detail: Detail,
    ) -> Result<Self> {
        let status = process.status()?;
        Ok(Self {
            slot,
            pid: process.pid(),
            parent: None,
            place: process.place(),
            forked_from: None,
            inheritance: None,
            comm: status.comm.clone(),
            command: process.command().unwrap_or_default(),
            python: None,
            notes: Vec::new(),
            began: Duration::ZERO,
            cpu_before: status.cpu_time,
            status: Some(status),
            ended: None,
            refusal: None,
            watch: Watch::default(),
            shed: None,
            plan_in_use: Vec::new(),
            executed: None,
            awaits_command: false,
            detail,
            probes: Vec::new(),
            paused_on_change,
            traced: false,
            program: process.program_mark()?,
            code: Vec::new(),
            code_given_up: 0,
            past_code: Vec::new(),
            planned: HashSet::new(),
            covered: HashSet::new(),
            process,
        })
    }

    /// Its tracing begins later than the tracer's.
    pub fn begins(&mut self, at: Duration) {
        self.began = at;
        self.watch = Watch::since(Reading { at, ..Reading::default() });
    }

    /// Whether it is memtrace's own child, which waits for memtrace when its code changes.
    #[must_use]
    pub fn is_paused_on_change(&self) -> bool {
        self.paused_on_change
    }

    /// Whether its allocations are seen, as far as they are to be.
    #[must_use]
    pub fn has_allocator(&self) -> bool {
        if self.detail == Detail::Rss {
            return !self.awaits_command;
        }
        self.plan_in_use.iter().any(|probe| probe.program == Program::AllocationEnter)
    }

    /// Whether the kernel records it already, as it does with programs of a followed process.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.traced && !self.paused_on_change
    }

    /// Whether its probes are in use.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        self.ended.is_none() && self.shed.is_none() && self.has_allocator()
    }

    /// Notes what the process looks like now; whether it still runs.
    pub fn look(&mut self) -> bool {
        // After its end the same process may be another program, even before its end is known.
        if self.ended.is_none()
            && self.process.check().is_ok()
            && let Ok(status) = self.process.status()
            && self.process.program_mark().is_ok_and(|mark| mark == self.program)
            // While it ends, its memory is gone first.
            && status.memory.peak_resident > 0
        {
            self.comm.clone_from(&status.comm);
            self.status = Some(status);
            return true;
        }
        false
    }

    /// Processes may give themselves another command line once they know what they are for.
    pub fn read_command(&mut self) {
        if self.ended.is_none()
            && let Ok(command) = self.process.command()
            && !command.is_empty()
        {
            self.command = command;
        }
    }

    /// CPU time it has used since tracing began, when last seen.
    #[must_use]
    pub fn used(&self) -> Duration {
        let now = self.status.as_ref().map_or(self.cpu_before, |status| status.cpu_time);
        now.saturating_sub(self.cpu_before)
    }

    /// Whether a program that nearly all calls run sits on instructions that are single-stepped; where
    /// only some allocators have such sites, calls count as of the others, as the C library's.
    #[must_use]
    pub fn is_slow(&self, program: Program) -> bool {
        let probes = self.plan_in_use.iter().filter(|planned| planned.program == program);
        let mut hot = probes.filter(|planned| planned.is_hot()).peekable();
        hot.peek().is_some() && hot.all(|planned| planned.site.slow)
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let reason = self.process.check().err().map(|unusable| unusable.reason);
        matches!(reason, Some(Reason::NoSuchProcess | Reason::Replaced | Reason::Zombie))
    }

    /// Lets the probes record from now on.
    pub fn start(&mut self, kernel: &mut Kernel, objects: &Objects, probes: &Probes) -> Result<()> {
        self.traced = true;
        self.code_given_up = kernel.code_given_up(self.slot)?;
        let mappings = self.process.mappings()?;
        self.describe(kernel, objects, probes, &mappings)
    }

    /// Ends the recording, while the process goes on; returns the probes, which nothing passes any
    /// more. What needs no probes, as its resident memory, is still followed.
    pub fn shed(&mut self, kernel: &mut Kernel, shed: Shed) -> Result<Vec<Probe>> {
        kernel.stop_live(self.slot)?;
        self.shed = Some(shed);
        Ok(self.take_probes())
    }

    /// Learns what the process has mapped now, and probes allocators that are new. Returns whether
    /// its code is mapped otherwise than before.
    pub fn refresh(
        &mut self,
        kernel: &mut Kernel,
        objects: &mut Objects,
        probes: &mut Probes,
    ) -> Result<bool> {
        self.code_given_up = kernel.code_given_up(self.slot)?;
        let mappings = self.process.mappings()?;
        // They may be another program's by now.
        if self.is_over(kernel) {
            return Ok(false);
        }
        objects.learn(&self.process, &mappings);
        let code = objects.code(&mappings);
        for mapping in &code {
            if let Some(table) = objects.take_table(mapping.object)
                && kernel.add_table(mapping.object, &table).is_err()
            {
                let name = objects.known(mapping.object).map(Known::name).unwrap_or_default();
                self.note(format!("no room for the unwind table of {name}"));
            }
        }
        let has_probes = self.detail == Detail::Full && self.shed.is_none();
        let planned = if has_probes { self.plan(objects, probes, &mappings) } else { Vec::new() };
        self.describe(kernel, objects, probes, &mappings)?;
        for (number, planned) in planned {
            if self.covered.insert(number) {
                let missing = self.without_probes(objects, number, &planned);
                let subject = (&self.process, self.slot);
                let new = probes.attach(kernel, objects, (number, &missing), subject)?;
                self.probes.extend(new);
            }
            self.plan_in_use.extend(planned);
        }
        // `/proc` shows another program a moment before the kernel tells of it.
        if self.is_over(kernel) {
            return Ok(false);
        }
        let before = mem::replace(&mut self.code, code);
        let has_changed = before != self.code;
        self.keep_past(before);
        Ok(has_changed)
    }

    /// Writes the process's slot. It may have become another program meanwhile, which is not to be
    /// taken for this one: the kernel has stopped the recording then, and it must stay so.
    fn describe(
        &mut self,
        kernel: &mut Kernel,
        objects: &Objects,
        probes: &Probes,
        mappings: &Mappings,
    ) -> Result<()> {
        if self.is_over(kernel) {
            return Ok(());
        }
        let run = kernel.write_mappings(self.slot, &objects.code(mappings))?;
        let slot = Slot {
            state: self.state(),
            paused_on_change: u32::from(self.paused_on_change),
            owner: self.pid,
            followed: u32::from(probes.follow()),
            mappings: run,
            code_given_up: self.code_given_up,
            python: self.interpreter(objects, mappings),
        };
        kernel.write_process(self.slot, &slot)?;
        if self.is_over(kernel) { kernel.stop(self.slot) } else { Ok(()) }
    }

    /// Whether the kernel has seen the program end that is recorded.
    fn is_over(&self, kernel: &Kernel) -> bool {
        self.traced && !kernel.is_watched(self.pid, self.slot)
    }

    fn state(&self) -> u32 {
        match (self.traced, self.detail, self.shed) {
            (false, ..) => state::IDLE,
            (_, Detail::Rss, _) => state::PAGES,
            (_, Detail::Full, None) => state::TRACED,
            (_, Detail::Full, Some(_)) => state::SHED,
        }
    }

    /// Where the interpreter keeps its frames; all zero if there is none that can be read.
    fn interpreter(&mut self, objects: &Objects, mappings: &Mappings) -> Python {
        let interpreter = objects.interpreter(mappings);
        self.python = interpreter.version().or(self.python.take());
        if interpreter.is_complete() {
            self.notes.retain(|note| note != NO_SPECIFIC);
        }
        for refusal in &interpreter.refusals {
            self.note(refusal.clone());
        }
        interpreter.layout
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The probes; the target has none any more.
    pub fn take_probes(&mut self) -> Vec<Probe> {
        mem::take(&mut self.probes)
    }
}
