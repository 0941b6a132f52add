//! One run of tracing: find the targets, attach, wait, detach, report. The only module that knows
//! in which order things happen; it knows nothing else.

mod budget;
mod codes;
mod cost;
mod fold;
mod fragmentation;
mod history;
mod inheritance;
mod launch;
mod pages;
mod probes;
mod progress;
mod recorder;
mod residence;
mod signals;
mod snapshot;
mod target;
mod targets;
mod tracer;

use std::{ffi::OsString, future::pending, io, os::fd::AsRawFd, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::unix::AsyncFd,
    runtime, task,
    time::{self, Instant, Interval, MissedTickBehavior},
};

use self::{
    fold::Names,
    launch::Launch,
    progress::Progress,
    signals::{Request, Signals},
    snapshot::First,
    tracer::Tracer,
};
pub use self::{
    launch::NotStarted,
    recorder::{RecorderOptions, Scope, run_recorder},
    snapshot::{SnapshotOptions, run_snapshot},
    target::NoAllocator,
};
use crate::{
    cli::{self, Exit},
    kernel,
    output::{self, Outputs},
    process::{
        groups::{Groups, own_limit},
        namespaces::ensure_initial_pid_namespace,
        selection::Wanted,
    },
    profile::{BasisPoints, Profile},
    report::units::Size,
    snapshot::Snapshot,
};

/// What to trace.
pub enum Goal {
    /// Running processes.
    Attach(Vec<u32>),
    /// Processes that fit, now and later.
    Select(Vec<Wanted>),
    /// A command, from its first instruction.
    Run(Vec<OsString>),
}

/// What the user wants.
pub struct Options {
    /// What to trace.
    pub goal: Goal,
    /// Whether children are traced; `None`: those of a command, if that is possible.
    pub follow: Option<bool>,
    /// When to stop; without it, on Ctrl-C or when nothing is left to trace.
    pub duration: Option<Duration>,
    /// How much is recorded.
    pub detail: Detail,
    /// Bytes between samples; 0 records everything.
    pub sample_interval: u64,
    /// The share of a process's CPU time above which its probes are taken off; `None`: they stay.
    pub max_overhead: Option<BasisPoints>,
    /// Live allocations that can be told apart.
    pub max_live: u32,
    /// Distinct stacks; `None`: as many as will usually do.
    pub max_stacks: Option<u32>,
    /// No progress.
    pub quiet: bool,
    /// Print what the kernel programs log.
    pub verbose: bool,
    /// Reports to write.
    pub outputs: Outputs,
}

/// How much is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What the kernel sees by itself: mappings, page faults. No probes.
    Rss,
    /// Every allocation and release as well.
    #[default]
    Full,
}

impl Detail {
    /// The name that users type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rss => "rss",
            Self::Full => "full",
        }
    }
}

impl Options {
    /// Whether children are to be traced, if that is possible.
    fn follows(&self) -> bool {
        self.follow.unwrap_or(!matches!(self.goal, Goal::Attach(_)))
    }
}

/// How often the memory of the targets is looked at, if that is quickly done.
const LOOK: Duration = Duration::from_millis(100);
/// How often progress is shown, and the cost of the probes compared with the budget.
const TICK: Duration = Duration::from_millis(500);

/// Traces until the end and writes the reports.
pub fn run(options: Options) -> Result<Exit> {
    options.outputs.check()?;
    kernel::require_features()?;
    warn_of_limit();
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(trace(&options));
    // Symbols that nobody waits for any more need not be found.
    runtime.shutdown_background();
    exit
}

/// What memtrace needs is missing for those that share its limit, and a kill takes it too.
fn warn_of_limit() {
    let limit = Groups::find().ok().and_then(|groups| own_limit(&groups));
    if let Some((path, limit)) = limit {
        cli::complain(
            &format!(
                "memtrace runs inside the control group {path}, limit {}: its own memory counts there",
                Size(limit)
            ),
            &format!("start it outside, and trace what is inside: memtrace --cgroup {path}"),
        );
    }
}

async fn trace(options: &Options) -> Result<Exit> {
    let signals = Signals::listen().context("listen to signals")?;
    match &options.goal {
        Goal::Attach(pids) => {
            let progress = Progress::new(options.quiet);
            progress.say("reading the mapped files");
            let (tracer, known) = Tracer::attach(pids, options)?;
            let first = if options.quiet { First::default() } else { First::begin(pids, known) };
            record(tracer, &mut Run { signals, progress, first, launch: None, options }).await?;
            Ok(Exit::Success)
        }
        Goal::Select(wanted) => {
            let progress = Progress::new(options.quiet);
            let tracer = Tracer::select(wanted.clone(), options)?;
            let first = First::default();
            record(tracer, &mut Run { signals, progress, first, launch: None, options }).await?;
            Ok(Exit::Success)
        }
        Goal::Run(command) => {
            ensure_initial_pid_namespace().context("run a command")?;
            let mut launch = Launch::prepare(command, signals.inherited())?;
            let tracer = Tracer::for_command(launch.pid(), options)?;
            launch.release();
            // The terminal is the command's.
            let progress = Progress::new(true);
            let first = First::default();
            let mut run = Run { signals, progress, first, launch: Some(launch), options };
            let reported = record(tracer, &mut run).await.map_err(|error| cli::report(&error));
            run.outlast_command(reported.err()).await
        }
    }
}

/// Everything around the tracing.
struct Run<'options> {
    signals: Signals,
    progress: Progress,
    first: First,
    launch: Option<Launch>,
    options: &'options Options,
}

/// Traces until it is time to stop, and reports.
async fn record(mut tracer: Tracer, run: &mut Run<'_>) -> Result<()> {
    let command_ended = run.wait(&mut tracer).await?;
    let (recorded, detaching) = tracer.finish(run.options.outputs.need_heaps())?;
    run.resume_command();
    run.progress.say("resolving symbols");
    let names = recorded.unresolved();
    // A second request may have come in while the first was served.
    task::yield_now().await;
    let names = tokio::select! {
        biased;
        request = hurry(&mut run.signals, command_ended) => {
            run.pass_on(request);
            Names::none()
        }
        names = task::spawn_blocking(|| Names::resolve(names)) => names.context("resolve symbols")?,
    };
    let profile = recorded.into_profile(&names);
    if run.first.is_awaited() {
        tokio::select! {
            request = hurry(&mut run.signals, command_ended) => run.pass_on(request),
            snapshots = run.first.taken() => run.print_first(&snapshots),
        }
    }
    run.progress.clear();
    let finished = run.finish(&profile);
    run.progress.say("taking the probes off");
    drop(detaching);
    run.progress.clear();
    finished
}

impl Run<'_> {
    /// Handles events until it is time to stop; whether that was because the command has ended.
    async fn wait(&mut self, tracer: &mut Tracer) -> Result<bool> {
        let mut command_ended = false;
        let mut events = readable(tracer.events()?)?;
        let mut log = readable(tracer.log(self.options.verbose)?)?;
        let (mut looks, mut ticks) = (every(LOOK), every(TICK));
        let deadline = self.options.duration.and_then(|time| Instant::now().checked_add(time));
        while !(self.launch.is_none() && tracer.is_over()) {
            tokio::select! {
                ready = events.readable_mut() => {
                    let mut ready = ready?;
                    tracer.handle(ready.get_inner_mut());
                    ready.clear_ready();
                }
                ready = log.readable_mut() => {
                    let mut ready = ready?;
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                _ = looks.tick() => {
                    tracer.look_at_pages()?;
                    tracer.look()?;
                    tracer.look_at_sharing();
                }
                _ = ticks.tick() => self.tick(tracer)?,
                snapshots = self.first.taken() => self.print_first(&snapshots),
                request = self.signals.next() => {
                    self.pass_on(request);
                    break;
                }
                () = sleep_until(deadline) => break,
                ended = ended(self.launch.as_mut()) => {
                    ended?;
                    command_ended = true;
                    break;
                }
            }
        }
        tracer.handle(events.get_mut());
        Ok(command_ended)
    }

    /// Prints what fits a screen of each process. If nobody reads it, the reports may still be
    /// wanted; the summary meets the same.
    fn print_first(&self, snapshots: &[Snapshot]) {
        self.progress.clear();
        for snapshot in snapshots {
            let _ = output::print_snapshot(snapshot, true);
        }
    }

    /// What is to be done now and then.
    fn tick(&mut self, tracer: &mut Tracer) -> Result<()> {
        for line in tracer.keep_within_budget()? {
            self.progress.clear();
            cli::say(&line);
        }
        tracer.search()?;
        self.progress.show(&tracer.state()?);
        tracer.tidy();
        Ok(())
    }

    /// An interrupt reaches the command by itself, if it comes from the terminal.
    fn pass_on(&self, request: Request) {
        if let (Some(launch), Request::Terminate) = (&self.launch, request) {
            launch.terminate();
        }
    }

    /// The command may have been paused at the moment in which tracing ended.
    fn resume_command(&self) {
        if let Some(launch) = &self.launch {
            launch.resume();
        }
    }

    /// Writes the reports, and prints the summary also if that fails.
    fn finish(&self, profile: &Profile) -> Result<()> {
        let written = self.options.outputs.write(profile);
        let printed = output::print_summary(profile, self.launch.is_none());
        written.and(printed)
    }

    /// Waits for the command; its exit is memtrace's own, unless it hides that a report `failed`.
    async fn outlast_command(mut self, failed: Option<Exit>) -> Result<Exit> {
        self.resume_command();
        let mut launch = self.launch.take().context("a command was started")?;
        loop {
            tokio::select! {
                exit = launch.exit() => {
                    let hides = exit == Exit::Command(0);
                    return Ok(failed.filter(|_| hides).unwrap_or(exit));
                }
                request = self.signals.next() => {
                    if request == Request::Terminate {
                        launch.terminate();
                    }
                }
            }
        }
    }
}

/// Waits for a request while memtrace is ending already. The interrupt that has ended the command may
/// reach memtrace later, and is none.
async fn hurry(signals: &mut Signals, command_ended: bool) -> Request {
    let first = signals.next().await;
    if command_ended && first == Request::Interrupt { signals.next().await } else { first }
}

fn readable<T: AsRawFd>(source: T) -> Result<AsyncFd<T>> {
    // SAFETY: the source owns its file descriptor and keeps it open and the same until it is
    // dropped, which the returned value does last.
    let registered = unsafe { AsyncFd::register(source) };
    registered.map_err(io::Error::from).context("wait for the kernel programs")
}

fn every(period: Duration) -> Interval {
    let mut ticks = time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => pending().await,
    }
}

async fn ended(launch: Option<&mut Launch>) -> Result<()> {
    match launch {
        Some(launch) => launch.ended().await,
        None => pending().await,
    }
}
