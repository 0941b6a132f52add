//! Pairs of runs, one without and one with a tool, one right after the other, again and again.

use std::{
    ffi::OsString,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    WORKLOADS, Workload,
    attached::Attached,
    tools::{Tool, Way},
};
use crate::{Arguments, say, statistics::median, worker::Worker};

/// Rounds, unless they take too long.
const ROUNDS: usize = 5;
/// No round is begun that would not end within this time.
const BUDGET: Duration = Duration::from_mins(12);

/// Everything that was measured.
pub struct Measured {
    pub rows: Vec<Row>,
    /// Seconds of each workload by itself, the median of all runs.
    pub alone: Vec<f64>,
    pub rounds: usize,
}

/// One tool.
pub struct Row {
    pub name: String,
    /// One for each workload.
    pub cells: Vec<Cell>,
}

/// One tool with one workload.
#[derive(Default)]
pub struct Cell {
    /// Seconds without and with the tool.
    pub pairs: Vec<(f64, f64)>,
    /// Why there are no more pairs.
    pub failure: Option<String>,
    /// What memtrace could not record, in all runs.
    pub losses: u64,
}

impl Cell {
    /// By what factor the workload's time grows: the median of the pairs; `None` without pairs.
    pub fn ratio(&self) -> Option<f64> {
        let ratios: Vec<f64> = self.pairs.iter().map(|(alone, with)| with / alone).collect();
        (!ratios.is_empty()).then(|| median(ratios))
    }
}

/// Measures every tool with every workload.
pub fn measure(arguments: &Arguments, tools: &[Tool]) -> Result<Measured> {
    let mut rows: Vec<Row> = tools.iter().map(row).collect();
    let (start, mut rounds) = (Instant::now(), 0);
    let most = if arguments.quick { 1 } else { ROUNDS };
    while rounds < most {
        rounds += 1;
        say(&format!("round {rounds} of at most {most}"));
        round(arguments, tools, &mut rows)?;
        let each = start.elapsed() / rounds as u32;
        if start.elapsed() + each > BUDGET {
            break;
        }
    }
    let alone = (0..WORKLOADS.len()).map(|workload| {
        let cells = rows.iter().filter_map(|row| row.cells.get(workload));
        median(cells.flat_map(|cell| &cell.pairs).map(|(alone, _)| *alone).collect())
    });
    Ok(Measured { alone: alone.collect(), rows, rounds })
}

fn row(tool: &Tool) -> Row {
    let cell = || Cell { failure: tool.missing.clone(), ..Cell::default() };
    Row { name: tool.name.clone(), cells: WORKLOADS.iter().map(|_| cell()).collect() }
}

fn round(arguments: &Arguments, tools: &[Tool], rows: &mut [Row]) -> Result<()> {
    for (number, workload) in WORKLOADS.iter().enumerate() {
        let name = workload.name;
        for (tool, row) in tools.iter().zip(&mut *rows) {
            let cell = &mut row.cells[number];
            if cell.failure.is_some() {
                continue;
            }
            let alone = run(arguments, workload, Way::Alone)
                .with_context(|| format!("run {name} by itself"))?;
            match run(arguments, workload, tool.way) {
                Ok(Run { seconds, losses, .. }) => {
                    cell.pairs.push((alone.seconds, seconds));
                    cell.losses += losses;
                    let ratio = seconds / alone.seconds;
                    say(&format!("{name}, {}: {ratio:.2}x of {:.2} s", tool.name, alone.seconds));
                }
                Err(error) => {
                    say(&format!("{name}, {}: {error:#}", tool.name));
                    cell.failure = Some(format!("{error:#}"));
                }
            }
        }
    }
    Ok(())
}

struct Run {
    seconds: f64,
    losses: u64,
}

/// One run of a workload.
fn run(arguments: &Arguments, workload: &Workload, way: Way) -> Result<Run> {
    let folder = tempfile::tempdir_in(&arguments.folder).context("make a folder for a run")?;
    let script: [OsString; 2] = [arguments.workload("overhead.py").into(), workload.name.into()];
    let python = arguments.best_python();
    let mut command = match way {
        Way::Start(starter) => starter.command(python, &script, &folder.path().join("recorded")),
        Way::Alone | Way::Memtrace(_) | Way::Bpftrace => {
            let mut command = Command::new(python);
            command.args(&script);
            command
        }
    };
    let mut worker = Worker::start(command.env("PYTHONMALLOC", workload.allocator))?;
    let pid = worker.pid();
    let attached = match way {
        Way::Memtrace(options) => {
            let attached = Attached::memtrace(arguments, pid, folder.path(), options)?;
            Some(attached.map_err(anyhow::Error::msg)?)
        }
        Way::Bpftrace => Some(Attached::bpftrace(arguments, pid, folder.path())?),
        Way::Alone | Way::Start(_) => None,
    };
    let seconds = worker.ask("go")?;
    let losses = attached.map_or(Ok(0), Attached::leave)?;
    worker.end()?;
    Ok(Run { seconds, losses })
}
