//! `memtrace oom`: what was typed, turned into what is meant.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};

use super::{DEFAULT_MAX_OVERHEAD, Exit, Level, units};
use crate::{
    oom::{self, Rotation},
    output::Outputs,
    process::{groups::Groups, selection::NoSuchGroup},
    session::{self, Detail, Goal, RecorderOptions, Scope},
};

const FOLDER: &str = "/var/log/memtrace";
/// What systemd runs.
const UNIT: &str = include_str!("../../assets/memtrace-oom.service");

/// The flight recorder.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Oom {
    #[command(subcommand)]
    command: Option<Reports>,
    #[command(flatten)]
    record: Record,
}

#[derive(Subcommand)]
enum Reports {
    /// List the reports, the newest first.
    List(Place),
    /// Print a report's summary, by default the newest one's.
    Show {
        /// Its name, as `list` prints it, or the beginning of it, its folder, or the process id.
        name: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Print a unit for systemd that records from boot on.
    Unit,
}

#[derive(Args)]
struct Place {
    /// Where the reports are.
    #[arg(long, value_name = "DIR", default_value = FOLDER)]
    output_dir: PathBuf,
}

#[derive(Args)]
struct Record {
    #[command(flatten)]
    place: Place,
    /// Trace the processes of this control group and of those within it, whatever their size. OOM
    /// kills elsewhere are reported without stacks.
    #[arg(long, value_name = "PATH", conflicts_with = "pid")]
    cgroup: Option<String>,
    /// Trace these processes, whatever their size.
    #[arg(short, long, value_delimiter = ',', value_name = "PID", value_parser = units::process_id)]
    #[arg(allow_negative_numbers = true)]
    pid: Vec<u32>,
    /// How much to record; `rss`, mappings and page faults, costs next to nothing. Default: rss, with
    /// --cgroup and --pid full.
    #[arg(long, value_enum)]
    detail: Option<Level>,
    /// Without --cgroup and --pid: trace processes from this RSS on. Kills of smaller ones are
    /// reported without stacks.
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = units::size)]
    min_rss: u64,
    /// Keep at most so many reports.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    keep: usize,
    /// Keep at most so many bytes of reports; the newest one stays.
    #[arg(long, value_name = "BYTES", default_value = "1GiB", value_parser = units::size)]
    keep_bytes: u64,
    /// Record about one allocation in this many bytes, weighted so that totals stay right; 1 byte
    /// records every allocation.
    #[arg(long, value_name = "BYTES", default_value = "64KiB", value_parser = units::sample_interval)]
    sample: u64,
    /// Take the probes off a process when they take more than this share of its CPU time.
    /// Default: 10 percent.
    #[arg(long, value_name = "PERCENT", value_parser = units::max_overhead)]
    max_overhead: Option<units::MaxOverhead>,
    /// Live allocations that can be told apart, in all processes.
    #[arg(long, value_name = "COUNT", default_value_t = 2 << 20, value_parser = units::map_size())]
    max_live: u32,
    /// Distinct stacks.
    #[arg(long, value_name = "COUNT", default_value_t = 1 << 17, value_parser = units::map_size())]
    max_stacks: u32,
    /// Stop after this long. Default: never.
    #[arg(short, long, value_name = "TIME", value_parser = units::duration)]
    duration: Option<Duration>,
    /// Also say which processes are traced, and what the kernel programs log.
    #[arg(short, long)]
    verbose: bool,
}

/// Records, or prints what was recorded.
pub(super) fn run(oom: Oom) -> Result<Exit> {
    match oom.command {
        None => session::run_recorder(&options(oom.record)?),
        Some(Reports::List(place)) => {
            oom::list(&place.output_dir, io::stdout().lock()).map(|()| Exit::Success)
        }
        Some(Reports::Show { name, place }) => {
            let out = io::stdout().lock();
            oom::show(&place.output_dir, name.as_deref(), out).map(|()| Exit::Success)
        }
        Some(Reports::Unit) => {
            io::stdout().write_all(UNIT.as_bytes()).context("print the unit")?;
            Ok(Exit::Success)
        }
    }
}

fn options(record: Record) -> Result<RecorderOptions> {
    let scope = match (record.cgroup, &*record.pid) {
        (Some(path), _) => {
            let groups = Groups::find().context("find the control groups")?;
            Scope::Group(groups.resolve(&path).map_err(|_| NoSuchGroup::named(&path))?)
        }
        (None, []) => Scope::All(record.min_rss),
        (None, pids) => Scope::Processes(pids.to_vec()),
    };
    let default = if matches!(scope, Scope::All(_)) { Detail::Rss } else { Detail::Full };
    Ok(RecorderOptions {
        scope,
        folder: record.place.output_dir,
        rotation: Rotation { count: record.keep, bytes: record.keep_bytes },
        trace: session::Options {
            goal: Goal::Attach(Vec::new()),
            follow: None,
            duration: record.duration,
            detail: record.detail.map_or(default, Into::into),
            // Of an interval of one byte nothing is left out.
            sample_interval: if record.sample == 1 { 0 } else { record.sample },
            max_overhead: record.max_overhead.map_or(Some(DEFAULT_MAX_OVERHEAD), |limit| limit.0),
            max_live: record.max_live,
            max_stacks: Some(record.max_stacks),
            quiet: !record.verbose,
            verbose: record.verbose,
            outputs: Outputs::default(),
        },
    })
}
