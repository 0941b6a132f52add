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

/// Pairs of runs for each tool and workload, unless they take too long.
const ROUNDS: usize = 9;
/// No more pairs are begun once those of a tool and a workload have taken this long, two apart.
const BUDGET: Duration = Duration::from_secs(10);
/// Pairs that there are however long they take.
const LEAST: usize = 2;

/// Everything that was measured.
pub struct Measured {
    pub rows: Vec<Row>,
    /// Seconds of each workload by itself, the median of all runs.
    pub alone: Vec<f64>,
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
    /// Time that all of it took.
    spent: Duration,
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

    fn is_complete(&self) -> bool {
        self.failure.is_some() || self.pairs.len() >= LEAST && self.spent >= BUDGET
    }
}

/// Measures every tool with every workload.
pub fn measure(arguments: &Arguments, tools: &[Tool]) -> Measured {
    let mut rows: Vec<Row> = tools.iter().map(row).collect();
    let rounds = if arguments.quick { 1 } else { ROUNDS };
    for number in 0..rounds {
        say(&format!("round {} of {rounds}", number + 1));
        round(arguments, tools, &mut rows, number);
    }
    let alone = (0..WORKLOADS.len()).map(|workload| {
        let cells = rows.iter().filter_map(|row| row.cells.get(workload));
        median(cells.flat_map(|cell| &cell.pairs).map(|(alone, _)| *alone).collect())
    });
    Measured { alone: alone.collect(), rows }
}

fn row(tool: &Tool) -> Row {
    let cell = || Cell { failure: tool.missing.clone(), ..Cell::default() };
    Row { name: tool.name.clone(), cells: WORKLOADS.iter().map(|_| cell()).collect() }
}

fn round(arguments: &Arguments, tools: &[Tool], rows: &mut [Row], round: usize) {
    for (number, workload) in WORKLOADS.iter().enumerate() {
        for (tool, row) in tools.iter().zip(&mut *rows) {
            let cell = &mut row.cells[number];
            if cell.is_complete() {
                continue;
            }
            let start = Instant::now();
            match pair(arguments, workload, tool.way, round % 2 == 1) {
                Ok((alone, with)) => {
                    cell.pairs.push((alone, with.seconds));
                    cell.losses += with.losses;
                    let ratio = with.seconds / alone;
                    say(&format!("{}, {}: {ratio:.2}x of {alone:.2} s", workload.name, tool.name));
                }
                Err(error) => {
                    say(&format!("{}, {}: {error:#}", workload.name, tool.name));
                    cell.failure = Some(format!("{error:#}"));
                }
            }
            cell.spent += start.elapsed();
        }
    }
}

/// Seconds without the tool, and the run with it, which may come first: the machine may be getting
/// slower.
fn pair(
    arguments: &Arguments,
    workload: &Workload,
    way: Way,
    is_first: bool,
) -> Result<(f64, Run)> {
    let alone = || run(arguments, workload, Way::Alone).context("run it by itself");
    if is_first {
        let with = run(arguments, workload, way)?;
        return Ok((alone()?.seconds, with));
    }
    Ok((alone()?.seconds, run(arguments, workload, way)?))
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
