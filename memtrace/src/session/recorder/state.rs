//! Everything that the recorder knows while it runs, and how it is kept up to date.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::Result;
use memtrace_abi::kill::Kill;

use super::{
    super::{target::Target, tracer::Tracer},
    RecorderOptions,
    ahead::Ahead,
    selection::Selection,
};
use crate::{
    cli,
    kernel::{Detaching, Kills},
    oom::{Archive, Census, Film, Limits, Victim},
    process::{
        groups::Groups,
        host,
        kernel_log::KernelLog,
        survey::{self, Seen},
        survival,
    },
    profile::Cause,
    report::units::Things,
};

/// How often all processes are looked at, if that is quickly done.
const SURVEY: Duration = Duration::from_secs(1);
/// Of many processes a survey takes longer; this many times as long there is none then.
const REST: u32 = 30;
/// A control group of a process that is not traced is looked for once in this many surveys.
const PLACED_EVERY: u32 = 5;
/// Slots of ended processes are made free when they are this many, or after a minute.
const ENDED_AT_ONCE: usize = 128;
const MINUTE: Duration = Duration::from_mins(1);
/// What has ended is kept for as long, because a report about it, or beside it, may be due.
const AFTERLIFE: Duration = Duration::from_secs(10);

/// How long it may take until the event of a kill is read.
const TELLING: Duration = Duration::from_secs(5);

/// The recorder.
pub struct Recorder {
    /// The traced processes.
    pub tracer: Tracer,
    pub(super) census: Census,
    pub(super) film: Film,
    pub(super) limits: Limits,
    pub(super) log: Option<KernelLog>,
    pub(super) archive: Archive,
    pub(super) selection: Selection,
    pub(super) ahead: Ahead,
    /// Kills that are not reported yet, and when the first of them came in.
    pub(super) pending: Vec<Victim>,
    pending_since: Option<Instant>,
    /// Slots whose kill is known.
    pub(super) killed: HashSet<u32>,
    groups: Groups,
    surveys: u32,
    next_survey: Instant,
    swept: Instant,
    started: Instant,
    pub(super) kills: u64,
    pub(super) reports: u64,
}

impl Recorder {
    /// Nothing is known yet.
    pub fn new(
        tracer: Tracer,
        archive: Archive,
        groups: Groups,
        options: &RecorderOptions,
    ) -> Self {
        let log = KernelLog::open();
        if let Err(error) = &log {
            cli::say(&format!("the kernel's log cannot be read, so limits are guessed: {error}"));
        }
        Self {
            tracer,
            census: Census::default(),
            film: Film::default(),
            limits: Limits::new(groups.clone()),
            log: log.ok(),
            archive,
            selection: Selection::new(options.scope.clone()),
            ahead: Ahead::default(),
            pending: Vec::new(),
            pending_since: None,
            killed: HashSet::new(),
            groups,
            surveys: 0,
            next_survey: Instant::now(),
            swept: Instant::now(),
            started: Instant::now(),
            kills: 0,
            reports: 0,
        }
    }

    /// Looks at all processes, unless that was done a moment ago, and begins to trace those that are
    /// to be traced.
    pub fn survey(&mut self) -> Result<()> {
        let start = Instant::now();
        if start < self.next_survey {
            return Ok(());
        }
        self.take_census()?;
        self.next_survey = start + SURVEY.max(start.elapsed() * REST);
        self.follow();
        self.watch_limits(host::time_since_boot());
        self.sweep()
    }

    fn take_census(&mut self) -> Result<()> {
        let start = host::time_since_boot();
        let traced: HashSet<_> = self.tracer.running().map(|target| target.pid).collect();
        self.surveys += 1;
        let all = survey::all()?;
        // A look counts as of its end: what a kill changed meanwhile is not of before it.
        let now = host::time_since_boot();
        for seen in all {
            let pid = seen.identity.pid;
            let is_new = self.census.note(&seen, now);
            let is_due = (pid + self.surveys).is_multiple_of(PLACED_EVERY);
            if is_new || is_due || traced.contains(&pid) {
                self.census.place(pid, survey::cgroup(pid));
            }
        }
        self.census.close_survey(start);
        self.selection.forget(&self.census);
        Ok(())
    }

    /// Processes of a group that is watched need not wait for the next survey.
    fn survey_group(&mut self, now: Duration) {
        let Some(path) = self.selection.group().map(str::to_owned) else { return };
        for pid in self.groups.members(&path) {
            if let Some(seen) = survey::one(pid) {
                self.census.note(&seen, host::time_since_boot());
                self.census.place(pid, survey::cgroup(pid));
            }
        }
        self.follow();
        self.watch_limits(now);
    }

    pub(super) fn is_traced(&self, pid: u32) -> bool {
        self.tracer.running().any(|target| target.pid == pid)
    }

    /// Watches the groups of what is traced.
    fn watch_limits(&mut self, now: Duration) {
        let pids = self.tracer.running().map(|target| target.pid);
        let placed = |pid| Some((self.census.get(pid)?.cgroup.as_deref()?, pid));
        self.limits.watch(pids.filter_map(placed), self.selection.group(), now);
    }

    fn follow(&mut self) {
        for identity in self.selection.choose(&self.census, |pid| self.is_traced(pid)) {
            let pid = identity.pid;
            let Err(error) = self.tracer.follow(pid) else { continue };
            self.selection.refuse(identity);
            // Processes end all the time.
            let lives = survey::one(pid).is_some_and(|seen| !seen.is_dead);
            if lives {
                cli::say(&format!("process {pid} is not traced: {error:#}"));
            }
        }
    }

    /// Looks at what is traced, and at how near the limits are.
    pub fn look(&mut self) -> Result<()> {
        self.survey()?;
        let now = host::time_since_boot();
        if let Some(log) = &mut self.log {
            log.read();
        }
        self.survey_group(now);
        self.tracer.look_at_pages()?;
        if let Some(points) = self.tracer.look_again()? {
            self.film.push(self.tracer.elapsed(), points);
            let seen_at = host::time_since_boot();
            self.tracer.running().filter_map(seen).for_each(|seen| {
                self.census.note(&seen, seen_at);
            });
        }
        self.note_ends();
        for alarm in self.limits.look(host::time_since_boot) {
            self.sound(alarm, host::time_since_boot());
        }
        Ok(())
    }

    /// Notes which processes have ended, and when.
    pub(super) fn note_ends(&mut self) {
        let (now, elapsed) = (host::time_since_boot(), self.tracer.elapsed());
        for target in self.tracer.ended().iter().filter_map(|slot| self.tracer.target(*slot)) {
            let identity = target.process.identity();
            let is_news = self
                .census
                .get(target.pid)
                .is_some_and(|citizen| citizen.identity == identity && citizen.ended.is_none());
            // A process that has become another program goes on.
            if is_news && target.is_gone() {
                let ago = target.ended.map(|ended| elapsed.saturating_sub(ended));
                self.census.end(target.pid, now.saturating_sub(ago.unwrap_or_default()));
            }
        }
    }

    /// Takes in kills.
    pub fn take_kills(&mut self, kills: &mut Kills) {
        for kill in kills {
            self.take_kill(&kill);
        }
    }

    fn take_kill(&mut self, kill: &Kill) {
        let victim = Victim::of(kill);
        self.kills += 1;
        if victim.cause == Cause::OutOfMemory {
            self.census.end(victim.pid, victim.at);
        }
        if victim.slot.is_some_and(|slot| !self.killed.insert(slot))
            || self.pending.iter().any(|pending| pending.pid == victim.pid)
        {
            return;
        }
        self.pending_since.get_or_insert_with(Instant::now);
        self.pending.push(victim);
    }

    /// When the first kill came in that is not reported yet.
    pub fn first_kill(&self) -> Option<tokio::time::Instant> {
        self.pending_since.map(tokio::time::Instant::from_std)
    }

    /// Reports the kills that are known.
    pub fn report_kills(&mut self) {
        self.pending_since = None;
        for victim in std::mem::take(&mut self.pending) {
            self.report_and_say(victim);
        }
    }

    /// What is to be done now and then.
    pub fn tick(&mut self) -> Result<()> {
        for line in self.tracer.keep_within_budget()? {
            cli::say(&line);
        }
        self.tracer.state()?;
        self.tracer.tidy_seldom();
        self.tracer.say_notes();
        Ok(())
    }

    /// Makes the slots of ended processes free.
    fn sweep(&mut self) -> Result<()> {
        self.report_untold();
        let ended = self.tracer.ended();
        if ended.len() < ENDED_AT_ONCE && self.swept.elapsed() < MINUTE {
            return Ok(());
        }
        self.swept = Instant::now();
        let past: Vec<_> =
            ended.into_iter().filter(|slot| self.is_past(*slot, AFTERLIFE)).collect();
        if past.is_empty() {
            return Ok(());
        }
        self.film.forget(&past);
        for slot in &past {
            self.ahead.forget(*slot);
            self.killed.remove(slot);
        }
        self.tracer.forget(&past)
    }

    /// Whether the process of a slot has ended at least so long ago.
    fn is_past(&self, slot: u32, time: Duration) -> bool {
        let ended = self.tracer.target(slot).and_then(|target| target.ended);
        ended.is_some_and(|ended| ended + time <= self.tracer.elapsed())
    }

    /// Reports kills of which there was no event, because their buffer was full.
    fn report_untold(&mut self) {
        let is_untold = |slot: &u32| {
            let is_told = self.killed.contains(slot) || !self.is_past(*slot, TELLING);
            !is_told && self.tracer.was_killed(*slot)
        };
        let untold: Vec<_> = self.tracer.ended().into_iter().filter(is_untold).collect();
        for slot in untold {
            self.killed.insert(slot);
            self.kills += 1;
            let Some(target) = self.tracer.target(slot) else { continue };
            let cause = Cause::Signal { pid: 0, comm: String::new() };
            let ago = target.ended.map(|ended| self.tracer.elapsed().saturating_sub(ended));
            let at = host::time_since_boot().saturating_sub(ago.unwrap_or_default());
            let (pid, comm) = (target.pid, target.comm.clone());
            self.report_and_say(Victim { pid, comm, cause, at, slot: Some(slot), counted: None });
        }
    }

    /// Ends the tracing.
    pub fn shut_down(&mut self) -> Result<Vec<Detaching>> {
        self.tracer.shut_down()
    }

    /// Says what the run came to, and what it cost.
    pub fn say_account(&mut self) -> Result<()> {
        let time = self.started.elapsed();
        let (used, resident) = survival::used();
        let share = 100.0 * used.div_duration_f64(time);
        cli::say(&format!(
            "recorded for {:.0} s: {} seen, {}, {}; CPU {:.1} s ({share:.1} %), at most {} MiB \
             resident",
            time.as_secs_f64(),
            Things(self.census.seen, "process"),
            Things(self.kills, "kill"),
            Things(self.reports, "report"),
            used.as_secs_f64(),
            resident >> 20,
        ));
        for (loss, count) in self.tracer.losses()? {
            let (noun, rest) = loss.what();
            cli::say(&format!("{} {rest}; {}", Things(count, noun), loss.advice()));
        }
        Ok(())
    }
}

/// A target as it was when last looked at. Once its memory is given back, what it had is of more
/// interest.
fn seen(target: &Target) -> Option<Seen> {
    let status = target.status.as_ref().filter(|status| status.memory.resident > 0)?;
    Some(Seen {
        identity: target.process.identity(),
        comm: status.comm.clone(),
        resident: status.memory.resident,
        is_dead: false,
    })
}
