//! What was typed, turned into what is meant; the only module that knows clap.

mod exit;
mod oom;
mod units;

use std::{mem, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::exit::{Exit, complain, report, say};
use crate::{
    doctor,
    output::{self, Outputs},
    process::{selection::Wanted, survival},
    profile::{BasisPoints, View},
    report::Content,
    session::{self, Detail, Goal, SnapshotOptions},
};

const EXAMPLES: &str = "\
Examples:
  memtrace --pid 4242                       what is allocated from now on, until Ctrl-C
  memtrace -d 30s -o out.svg --pid 4242     a flame graph of what 30 seconds leave behind
  memtrace -o peak.svg --view peak -- python job.py
                                            from the first instruction, to the end of the job
  memtrace -d 5m -o memory.svg --view timeline --pid 4242
                                            RSS and live memory over five minutes
  memtrace -d 1m -o trace.memtrace -p 4242,4243 --sample 512KiB
                                            two busy workers, sampled, recorded for later
  memtrace report trace.memtrace -o live.svg
  memtrace snapshot --pid 4242              what a stuck process is doing and what holds its memory
  memtrace report trace.memtrace --budget 16GiB
                                            which limits to set, and how many workers fit
  memtrace oom                              a report behind every process killed for memory
  memtrace doctor                           what this kernel and user can do

Exit status: with -- CMD that of the command, 128 and the signal that killed it, 126 if it cannot
be run, 127 if there is no such command; else 0 data was written, 1 failure, 2 usage, 3 the target
was gone before any data, 4 not permitted, 5 the kernel lacks a feature.";

/// Of the CPU time of a process that was running before.
const DEFAULT_MAX_OVERHEAD: BasisPoints = BasisPoints(1_000);

/// Which lines hold the memory of a running Python process.
///
/// Attaches to unmodified processes: nothing is injected, stopped or restarted. Shows live memory
/// by stack, Python and native frames together.
#[derive(Parser)]
#[command(name = "memtrace", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    trace: Trace,
}

#[derive(Subcommand)]
enum Command {
    /// Say where a process is and what holds its memory, now: nothing is attached, nothing stopped.
    Snapshot(Snapshot),
    /// Draw a report from a recording (.memtrace), here or on another machine.
    Report(Report),
    /// Wait for processes to be killed for want of memory, and report what held it.
    Oom(oom::Oom),
    /// Say what this kernel and user can do, and what exactly is missing.
    Doctor,
}

#[derive(Args)]
struct Trace {
    /// Processes to attach to: -p 1,2 or -p 1 -p 2.
    #[arg(short, long, value_delimiter = ',', value_name = "PID", value_parser = units::process_id)]
    #[arg(allow_negative_numbers = true)]
    pid: Vec<u32>,
    #[command(flatten)]
    selected: Selected,
    #[command(flatten)]
    children: Children,
    /// Stop after this long: 30s, 5m, 1h30m. Default: until Ctrl-C or the end of the processes.
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    duration: Option<Duration>,
    /// How much to record: `full` is every allocation and release; `rss` is mappings and page faults
    /// only, which costs next to nothing. Default: full; of all processes, rss.
    #[arg(long, value_enum)]
    detail: Option<Level>,
    /// Record about one allocation in this many bytes, weighted so that totals stay right: 512KiB.
    /// Default: every allocation.
    #[arg(long, value_name = "BYTES", value_parser = units::sample_interval)]
    sample: Option<u64>,
    /// Take the probes off a process when they take more than this share of its CPU time for two
    /// seconds, and go on without them: 10, 2.5%, unlimited. Default: 10 percent of a running
    /// process; of a command, unlimited.
    #[arg(long, value_name = "PERCENT", value_parser = units::max_overhead)]
    max_overhead: Option<units::MaxOverhead>,
    /// Live allocations that can be told apart, in all processes.
    #[arg(long, value_name = "COUNT", default_value_t = 2 << 20, value_parser = units::map_size())]
    max_live: u32,
    /// Distinct stacks, those of each process by themselves. Default: 131072, and where children are
    /// traced 524288.
    #[arg(long, value_name = "COUNT", value_parser = units::map_size())]
    max_stacks: Option<u32>,
    /// No progress on the terminal.
    #[arg(short, long)]
    quiet: bool,
    /// Also print what the kernel programs log.
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    output: Output,
    /// A command to run and trace from its first instruction. The summary goes to standard error.
    #[arg(last = true, value_name = "CMD", conflicts_with_all = ["pid", "comm", "cgroup", "unit", "container", "all"])]
    run: Vec<std::ffi::OsString>,
}

#[derive(Args)]
struct Selected {
    /// Processes with this short name, also those that start later.
    #[arg(long, value_name = "NAME")]
    comm: Vec<String>,
    /// Processes in this control group or below it, also those that start later.
    #[arg(long, value_name = "PATH")]
    cgroup: Vec<String>,
    /// Processes of this systemd unit, also those that start later.
    #[arg(long, value_name = "NAME")]
    unit: Vec<String>,
    /// Processes of this container, by its id or name, also those that start later.
    #[arg(long, value_name = "ID")]
    container: Vec<String>,
    /// All processes, also those that start later.
    #[arg(long, conflicts_with_all = ["pid", "comm", "cgroup", "unit", "container"])]
    all: bool,
}

#[derive(Args)]
struct Children {
    /// Trace children as well, from their first allocation. Default: those of a command,
    /// and of processes that are not named by their ids.
    #[arg(long, overrides_with = "no_follow")]
    follow: bool,
    /// Trace no children.
    #[arg(long)]
    no_follow: bool,
}

#[derive(Args)]
struct Snapshot {
    /// The process.
    #[arg(short, long, value_name = "PID", value_parser = units::process_id)]
    #[arg(allow_negative_numbers = true)]
    pid: u32,
    /// How long it may take; what is not read by then is left out: 10s, 500ms.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::duration)]
    timeout: Duration,
    /// Write it to a file; its kind follows from the name: .html, .json, or .svg for a picture of the
    /// heap. May be given several times.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
}

#[derive(Args)]
struct Report {
    /// The recording.
    recording: PathBuf,
    /// Say which limits to set, for Kubernetes and for systemd, instead of printing the summary.
    #[arg(long)]
    advice: bool,
    /// As --advice, and how many such processes fit into so much memory: 16GiB.
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    budget: Option<u64>,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
struct Output {
    /// Write a report; its kind follows from the name: .svg .html .folded .json .pb.gz .memtrace.
    /// May be given several times.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the report shows.
    #[arg(long, value_enum, default_value_t = Shown::Live)]
    view: Shown,
    /// Overwrite existing files.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Level {
    /// Mappings and page faults, no probes.
    Rss,
    /// Every allocation and release as well.
    Full,
}

impl From<Level> for Detail {
    fn from(level: Level) -> Self {
        match level {
            Level::Rss => Self::Rss,
            Level::Full => Self::Full,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Shown {
    /// Allocated and not released.
    Live,
    /// Live at the moment when most was live.
    Peak,
    /// Everything that was allocated, released or not.
    Allocated,
    /// In memory now, by who touched it first.
    Resident,
    /// Resident and live memory over time: .svg, .html or .json.
    Timeline,
    /// Free memory that stays resident, by the blocks that keep it there.
    Fragmentation,
    /// Of forked processes: what was live in the parent when they began.
    Inherited,
}

impl From<Shown> for Content {
    fn from(shown: Shown) -> Self {
        match shown {
            Shown::Live => View::Live.into(),
            Shown::Peak => View::Peak.into(),
            Shown::Allocated => View::Allocated.into(),
            Shown::Resident => View::Resident.into(),
            Shown::Fragmentation => View::Fragmentation.into(),
            Shown::Inherited => View::Inherited.into(),
            Shown::Timeline => Self::Timeline,
        }
    }
}

impl Selected {
    /// What was asked for.
    fn take(&mut self) -> Vec<Wanted> {
        let Self { comm, cgroup, unit, container, all } = self;
        let named = |names: &mut Vec<String>, wanted: fn(String) -> Wanted| -> Vec<_> {
            mem::take(names).into_iter().map(wanted).collect()
        };
        [
            named(comm, Wanted::Comm),
            named(cgroup, Wanted::Cgroup),
            named(unit, Wanted::Unit),
            named(container, Wanted::Container),
            all.then_some(Wanted::All).into_iter().collect(),
        ]
        .concat()
    }
}

impl Children {
    /// `None`: nobody has said.
    fn choice(&self) -> Option<bool> {
        (self.follow || self.no_follow).then_some(self.follow)
    }
}

impl From<Output> for Outputs {
    fn from(output: Output) -> Self {
        Self { files: output.files, content: output.view.into(), force: output.force }
    }
}

impl From<Snapshot> for SnapshotOptions {
    fn from(snapshot: Snapshot) -> Self {
        let Snapshot { pid, timeout, files, force } = snapshot;
        let outputs = Outputs { files, force, ..Outputs::default() };
        Self { pid, limit: timeout, outputs }
    }
}

/// Runs the command line and says how it ended.
#[must_use]
pub fn run() -> Exit {
    survival::give_memory_back();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let outcome = match arguments.command {
        Some(Command::Report(report)) => from_recording(report),
        Some(Command::Snapshot(snapshot)) => session::run_snapshot(&snapshot.into()),
        Some(Command::Oom(oom)) => oom::run(oom),
        Some(Command::Doctor) => doctor::run(),
        None => trace(arguments.trace),
    };
    outcome.unwrap_or_else(|error| report(&error))
}

fn from_recording(report: Report) -> anyhow::Result<Exit> {
    let outputs: Outputs = report.output.into();
    let profile = output::from_recording(&report.recording, &outputs)?;
    if report.advice || report.budget.is_some() {
        output::print_advice(&profile, report.budget)?;
    } else if outputs.files.is_empty() {
        output::print_summary(&profile, true)?;
    }
    Ok(Exit::Success)
}

/// What is to be traced, if anything.
fn goal(trace: &mut Trace) -> Option<Goal> {
    if !trace.run.is_empty() {
        return Some(Goal::Run(mem::take(&mut trace.run)));
    }
    let named = trace.selected.take();
    let pids = mem::take(&mut trace.pid);
    match (named.is_empty(), pids.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Goal::Attach(pids)),
        _ => {
            Some(Goal::Select(named.into_iter().chain(pids.into_iter().map(Wanted::Pid)).collect()))
        }
    }
}

fn trace(mut trace: Trace) -> anyhow::Result<Exit> {
    // Probes in all processes would cost all of them.
    let usual = if trace.selected.all { Level::Rss } else { Level::Full };
    let Some(goal) = goal(&mut trace) else { return Ok(exit::nothing_to_do()) };
    // Somebody else depends on a process that runs already; a command is run to be traced.
    let default = (!matches!(goal, Goal::Run(_))).then_some(DEFAULT_MAX_OVERHEAD);
    session::run(session::Options {
        max_overhead: trace.max_overhead.map_or(default, |limit| limit.0),
        goal,
        follow: trace.children.choice(),
        duration: trace.duration,
        detail: trace.detail.unwrap_or(usual).into(),
        sample_interval: trace.sample.unwrap_or_default(),
        max_live: trace.max_live,
        max_stacks: trace.max_stacks,
        quiet: trace.quiet,
        verbose: trace.verbose,
        outputs: trace.output.into(),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn process_ids_are_listed_either_way() {
        let arguments = Arguments::try_parse_from(["memtrace", "-p", "1,2", "--pid", "3"]);
        assert_eq!(arguments.map(|arguments| arguments.trace.pid).ok(), Some(vec![1, 2, 3]));
    }

    #[test]
    fn options_behind_the_dashes_belong_to_the_command() {
        let arguments =
            Arguments::try_parse_from(["memtrace", "-d", "5s", "--", "python", "-o", "x"]);
        let trace = arguments.map(|arguments| arguments.trace).ok();
        let trace = trace.expect("the command line is valid");
        assert_eq!(trace.run, ["python", "-o", "x"]);
        assert!(trace.output.files.is_empty());
    }

    #[test]
    fn a_pid_and_a_command_exclude_each_other() {
        assert!(Arguments::try_parse_from(["memtrace", "-p", "1", "--", "true"]).is_err());
    }
}
