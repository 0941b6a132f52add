//! Comparisons of work without and with a tool, one right after the other, again and again.

use std::{
    ffi::OsString,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{
    WORKLOADS, Workload,
    attached::Attached,
    tools::{Starter, Tool, Way},
};
use crate::{Arguments, say, statistics::median, worker::Worker};

/// Comparisons for each tool and workload, unless they take too long.
const ROUNDS: usize = 9;
/// No more are begun once those of a tool and a workload have taken this long, the least apart.
const BUDGET: Duration = Duration::from_secs(30);
/// Comparisons that there are however long they take.
const LEAST: usize = 2;
/// Times that the work is done without, with, and again without the tool.
const REPEATS: usize = 7;
/// It is not done again once it has taken this long.
const ENOUGH: Duration = Duration::from_secs(4);

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

    /// Whether there are to be no more pairs; those of a few tools may take their time.
    fn is_complete(&self, of_few: bool) -> bool {
        let is_dear = !of_few && self.pairs.len() >= LEAST && self.spent >= BUDGET;
        self.failure.is_some() || is_dear
    }
}

/// Measures every tool with every workload.
pub fn measure(arguments: &Arguments, tools: &[Tool]) -> Measured {
    let mut rows: Vec<Row> = tools.iter().map(row).collect();
    let rounds = if arguments.quick { 1 } else { ROUNDS };
    for number in 0..rounds {
        say(&format!("round {} of {rounds}", number + 1));
        round(arguments, tools, &mut rows);
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

fn round(arguments: &Arguments, tools: &[Tool], rows: &mut [Row]) {
    for (number, workload) in WORKLOADS.iter().enumerate() {
        for (tool, row) in tools.iter().zip(&mut *rows) {
            let cell = &mut row.cells[number];
            if cell.is_complete(arguments.only.is_some()) {
                continue;
            }
            let start = Instant::now();
            match compare(arguments, workload, tool.way) {
                Ok(Comparison { pair: (alone, with), losses }) => {
                    cell.pairs.push((alone, with));
                    cell.losses += losses;
                    let ratio = with / alone;
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

/// What one comparison gives.
struct Comparison {
    /// Seconds without and with the tool.
    pair: (f64, f64),
    losses: u64,
}

/// Without the tool, with it, and again without it: what changes slowly in the machine is in both.
fn compare(arguments: &Arguments, workload: &Workload, way: Way) -> Result<Comparison> {
    let folder = tempfile::tempdir_in(&arguments.folder).context("make a folder for a run")?;
    match way {
        Way::Start(starter) => {
            let alone = || process(arguments, workload, None).context("run it by itself");
            let before = alone()?;
            let starter = Some((starter, &*folder.path().join("recorded")));
            let with = process(arguments, workload, starter)?;
            Ok(Comparison { pair: (f64::midpoint(before, alone()?), with), losses: 0 })
        }
        Way::Alone | Way::Memtrace(_) | Way::Bpftrace => {
            let mut worker = Worker::start(&mut command(arguments, workload, None))?;
            let before = work(&mut worker)?;
            let attached = attach(arguments, way, worker.pid(), folder.path())?;
            let with = work(&mut worker)?;
            let losses = attached.map_or(Ok(0), Attached::leave)?;
            let after = work(&mut worker)?;
            worker.end()?;
            Ok(Comparison { pair: (f64::midpoint(before, after), with), losses })
        }
    }
}

fn attach(arguments: &Arguments, way: Way, pid: u32, folder: &Path) -> Result<Option<Attached>> {
    Ok(match way {
        Way::Memtrace(options) => {
            let attached = Attached::memtrace(arguments, pid, folder, options)?;
            Some(attached.map_err(anyhow::Error::msg)?)
        }
        Way::Bpftrace => Some(Attached::bpftrace(arguments, pid, folder)?),
        Way::Alone | Way::Start(_) => None,
    })
}

/// Seconds that work takes in a process of its own, which a tool may start.
fn process(
    arguments: &Arguments,
    workload: &Workload,
    starter: Option<(Starter, &Path)>,
) -> Result<f64> {
    let mut worker = Worker::start(&mut command(arguments, workload, starter))?;
    let seconds = work(&mut worker)?;
    worker.end()?;
    Ok(seconds)
}

fn command(
    arguments: &Arguments,
    workload: &Workload,
    starter: Option<(Starter, &Path)>,
) -> Command {
    let script: [OsString; 2] = [arguments.workload("overhead.py").into(), workload.name.into()];
    let python = arguments.best_python();
    let mut command = if let Some((starter, output)) = starter {
        starter.command(python, &script, output)
    } else {
        let mut plain = Command::new(python);
        plain.args(&script);
        plain
    };
    command.env("PYTHONMALLOC", workload.allocator);
    command
}

/// Seconds that the work takes: the least of a few times, since what else the machine does only adds.
fn work(worker: &mut Worker) -> Result<f64> {
    let begin = Instant::now();
    let mut seconds = vec![worker.ask("go")?];
    while seconds.len() < REPEATS && begin.elapsed() < ENOUGH {
        seconds.push(worker.ask("go")?);
    }
    Ok(seconds.into_iter().fold(f64::INFINITY, f64::min))
}
