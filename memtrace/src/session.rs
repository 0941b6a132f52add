//! One run of tracing: find the targets, attach, wait, detach, report. The only module that knows
//! in which order things happen; it knows nothing else.

mod codes;
mod cost;
mod fold;
mod launch;
mod progress;
mod target;
mod tracer;

use std::{ffi::OsString, future::pending, io, os::fd::AsRawFd, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{
    io::unix::AsyncFd,
    runtime,
    signal::unix::{Signal, SignalKind, signal},
    task,
    time::{self, Instant, Interval, MissedTickBehavior},
};

use self::{fold::Names, launch::Launch, progress::Progress, tracer::Tracer};
use crate::{
    cli::Exit,
    kernel,
    output::{self, Outputs},
    profile::Profile,
};

/// What to trace.
pub enum Goal {
    /// Running processes.
    Attach(Vec<u32>),
    /// A command, from its first instruction.
    Run(Vec<OsString>),
}

/// What the user wants.
pub struct Options {
    /// What to trace.
    pub goal: Goal,
    /// When to stop; without it, on Ctrl-C or when nothing is left to trace.
    pub duration: Option<Duration>,
    /// Bytes between samples; 0 records everything.
    pub sample_interval: u64,
    /// Live allocations that can be told apart.
    pub max_live: u32,
    /// Distinct stacks.
    pub max_stacks: u32,
    /// No progress.
    pub quiet: bool,
    /// Print what the kernel programs log.
    pub verbose: bool,
    /// Reports to write.
    pub outputs: Outputs,
}

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(500);

/// Traces until the end and writes the reports.
pub fn run(options: Options) -> Result<Exit> {
    options.outputs.check()?;
    kernel::require_features()?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(trace(options))
}

async fn trace(options: Options) -> Result<Exit> {
    let mut signals = Signals::listen()?;
    let mut progress = Progress::new(options.quiet);
    progress.say("reading the mapped files");
    let mut launch = None;
    let mut tracer = match &options.goal {
        Goal::Attach(pids) => Tracer::attach(pids, &options)?,
        Goal::Run(command) => {
            let started = Launch::prepare(command)?;
            let tracer = Tracer::for_command(started.pid(), &options)?;
            launch = Some(started);
            tracer
        }
    };
    if let Some(launch) = &mut launch {
        launch.release()?;
    }
    tracer.announce();
    let stopped = wait(&mut tracer, &mut signals, launch.as_mut(), &mut progress, &options).await?;
    let (recorded, detaching) = tracer.finish()?;
    progress.say("resolving symbols");
    let names = recorded.unresolved();
    let names = tokio::select! {
        names = task::spawn_blocking(|| Names::resolve(names)) => names.context("resolve symbols")?,
        () = signals.interrupted() => Names::none(),
    };
    let profile = recorded.into_profile(&names);
    progress.clear();
    finish(&profile, &options)?;
    progress.say("taking the probes off");
    for thread in detaching {
        // It cannot panic; and if it did, the probes would go with the process.
        let _ = thread.join();
    }
    progress.clear();
    match (launch, stopped) {
        (Some(mut launch), _) => Ok(launch.exit().await),
        (None, _) => Ok(Exit::Success),
    }
}

/// Why the waiting ended.
enum Stopped {
    /// Time is up, or the user wants no more.
    Asked,
    /// Nothing is left to trace.
    Ended,
}

/// Handles events until it is time to stop.
async fn wait(
    tracer: &mut Tracer,
    signals: &mut Signals,
    mut launch: Option<&mut Launch>,
    progress: &mut Progress,
    options: &Options,
) -> Result<Stopped> {
    let mut events = readable(tracer.events()?)?;
    let mut log = readable(tracer.log(options.verbose)?)?;
    let mut ticks = ticks();
    let deadline = options.duration.map(|duration| Instant::now() + duration);
    loop {
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
            _ = ticks.tick() => progress.show(&tracer.state()?),
            () = signals.interrupted() => break,
            () = sleep_until(deadline) => break,
            ended = ended(launch.as_deref_mut()) => {
                ended?;
                tracer.handle(events.get_mut());
                return Ok(Stopped::Ended);
            }
        }
        if tracer.is_over() && launch.is_none() {
            return Ok(Stopped::Ended);
        }
    }
    tracer.handle(events.get_mut());
    Ok(Stopped::Asked)
}

fn readable<T: AsRawFd>(source: T) -> Result<AsyncFd<T>> {
    // SAFETY: the source owns its file descriptor and keeps it open and the same until it is
    // dropped, which the returned value does last.
    let registered = unsafe { AsyncFd::register(source) };
    registered.map_err(io::Error::from).context("wait for the kernel programs")
}

fn ticks() -> Interval {
    let mut ticks = time::interval(TICK);
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

fn finish(profile: &Profile, options: &Options) -> Result<()> {
    let written = options.outputs.write(profile);
    output::print_summary(profile)?;
    written
}

/// The signals by which a user asks for the end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()];
        Ok(Self { interrupt: signal(interrupt)?, terminate: signal(terminate)? })
    }

    async fn interrupted(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
