//! The flight recorder's loop: watch, freeze, report. It goes on until it is told to stop.

mod ahead;
mod reporting;
mod selection;
mod state;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{runtime, task, time::Instant};

pub use self::selection::Scope;
use self::state::Recorder;
use super::{Options, every, readable, signals::Signals, sleep_until, tracer::Tracer};
use crate::{
    cli::{self, Exit},
    kernel::{self, Events, Kills},
    oom::{Archive, Rotation},
    process::{
        groups::{Groups, around, own_limit},
        survey, survival,
    },
};

/// How often the traced processes and the control groups are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long after a kill it is reported: until then the kernel has said its part, and others that
/// are killed with it are known.
const SETTLE: Duration = Duration::from_millis(100);

/// What the user wants.
pub struct RecorderOptions {
    /// Which processes are traced.
    pub scope: Scope,
    /// Where the reports go.
    pub folder: PathBuf,
    /// How many are kept.
    pub rotation: Rotation,
    /// How they are traced.
    pub trace: Options,
}

/// Records until Ctrl-C, or until the duration is over.
pub fn run_recorder(options: &RecorderOptions) -> Result<Exit> {
    kernel::require_features()?;
    let archive = Archive::open(&options.folder, options.rotation)?;
    let groups = Groups::find().context("find the control groups")?;
    survive(&groups, &options.scope);
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(record(options, archive, groups));
    runtime.shutdown_background();
    exit
}

/// What can be done so that memtrace outlives those that it watches; what cannot is said.
fn survive(groups: &Groups, scope: &Scope) {
    if let Err(error) = survival::refuse_to_be_chosen() {
        cli::complain(
            &format!("the OOM killer may choose memtrace itself: {error}"),
            "give it CAP_SYS_RESOURCE, or let systemd set OOMScoreAdjust: memtrace oom unit",
        );
    }
    if let Err(error) = survival::lock_memory() {
        cli::complain(
            &format!("memtrace may have to wait for its own memory: {error}"),
            "lift the limit on locked memory: ulimit -l unlimited",
        );
    }
    let own = survey::cgroup(std::process::id()).unwrap_or_default();
    let is_watched = matches!(scope, Scope::Group(path) if around(&own).contains(path));
    let limited = own_limit(groups).map(|(path, _)| path);
    if let Some(path) = limited.or_else(|| is_watched.then_some(own)) {
        cli::complain(
            &format!("memtrace runs inside the control group {path}, and out of memory with it"),
            "start it outside: systemd-run --scope --slice=system memtrace oom",
        );
    }
}

async fn record(options: &RecorderOptions, archive: Archive, groups: Groups) -> Result<Exit> {
    let signals = Signals::listen().context("listen to signals")?;
    let (tracer, kills) = Tracer::for_recorder(&options.trace)?;
    let mut recorder = Recorder::new(tracer, archive, groups, options);
    recorder.survey()?;
    cli::say(&format!("waiting for kills; reports go to {}", options.folder.display()));
    Watch { recorder: &mut recorder, signals, options }.run(kills).await?;
    recorder.say_account()?;
    drop(recorder.shut_down()?);
    Ok(Exit::Success)
}

/// The loop, and what it waits for.
struct Watch<'run> {
    recorder: &'run mut Recorder,
    signals: Signals,
    options: &'run RecorderOptions,
}

impl Watch<'_> {
    async fn run(&mut self, kills: Kills) -> Result<()> {
        let mut kills = readable(kills)?;
        let mut events = readable(self.recorder.tracer.events()?)?;
        let mut log = readable(self.recorder.tracer.log(self.options.trace.verbose)?)?;
        let (mut looks, mut ticks) = (every(LOOK), every(super::TICK));
        let deadline = self.deadline();
        loop {
            let due = self.recorder.first_kill().map(|at| at + SETTLE);
            tokio::select! {
                biased;
                ready = kills.readable_mut() => {
                    let mut ready = ready?;
                    self.recorder.take_kills(ready.get_inner_mut());
                    ready.clear_ready();
                }
                () = sleep_until(due) => self.settle(kills.get_mut(), events.get_mut()),
                _ = self.signals.next() => break,
                ready = events.readable_mut() => {
                    let mut ready = ready?;
                    self.recorder.take_kills(kills.get_mut());
                    self.recorder.tracer.handle(ready.get_inner_mut());
                    ready.clear_ready();
                }
                ready = log.readable_mut() => {
                    let mut ready = ready?;
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                _ = looks.tick() => self.recorder.look()?,
                _ = ticks.tick() => self.recorder.tick()?,
                read = self.recorder.readings() => self.recorder.take_readings(read),
                () = sleep_until(deadline) => break,
            }
            task::yield_now().await;
        }
        self.settle(kills.get_mut(), events.get_mut());
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        let duration = self.options.trace.duration;
        duration.and_then(|time| Instant::now().checked_add(time))
    }

    /// Reports all kills that are known.
    fn settle(&mut self, kills: &mut Kills, events: &mut Events) {
        self.recorder.take_kills(kills);
        self.recorder.tracer.handle(events);
        self.recorder.report_kills();
    }
}
