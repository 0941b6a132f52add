//! More processes.

use anyhow::{Context as _, Result};

use super::{
    growth::{Growth, Unit},
    reports::path_text,
};
use crate::{Arguments, say, statistics::median, tracing::Tracing, worker::Worker};

const SIZES: [u64; 3] = [1, 10, 100];
/// Taking the probes off a hundred processes takes minutes, so that they get one round.
const ROUNDS: [usize; 3] = [5, 3, 1];
/// As quick as it can be.
const QUICK_SIZES: [u64; 3] = [1, 5, 25];
/// What each process does while it is traced: pairs, stacks, and frames more.
const WORK: &str = "1000 8 0 0";

/// Measures.
pub fn measure(arguments: &Arguments) -> Result<Growth> {
    let mut rows = Vec::new();
    let sizes = if arguments.quick { QUICK_SIZES } else { SIZES };
    for (size, rounds) in sizes.into_iter().zip(ROUNDS) {
        say(&format!("{size} processes"));
        rows.push((size, measure_size(arguments, size, rounds)?));
    }
    let costs = vec![
        ("attaching", Unit::Milliseconds),
        ("report", Unit::Milliseconds),
        ("taking the probes off", Unit::Milliseconds),
        ("memtrace's memory", Unit::Bytes),
        ("maps in the kernel", Unit::Bytes),
    ];
    let remarks = vec!["Python processes that make pairs of malloc and free.".to_owned()];
    Ok(Growth { size: "processes", costs, rows, remarks })
}

fn measure_size(arguments: &Arguments, size: u64, rounds: usize) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir_in(&arguments.folder).context("make a folder for reports")?;
    let mut workers = start(arguments, size)?;
    let pids: Vec<u32> = workers.iter().map(Worker::pid).collect();
    let mut measured = vec![Vec::new(); 5];
    for round in 0..rounds {
        let report = folder.path().join(format!("{round}.html"));
        let options = ["--output", path_text(&report)?];
        let tracing = Tracing::attach(&arguments.memtrace, &pids, folder.path(), &options)?;
        let attached_after = tracing.attached_after;
        for worker in &mut workers {
            worker.ask(WORK)?;
        }
        let maps = tracing.map_memory()?;
        let stopped = tracing.stop_with(Some(&report))?;
        let written = stopped.written.unwrap_or(stopped.after);
        let times = [attached_after, written, stopped.after.saturating_sub(written)];
        let values = times.map(|time| time.as_secs_f64() * 1e3).into_iter();
        let values = values.chain([stopped.peak_rss as f64, maps as f64]);
        measured.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
    }
    Ok(measured.into_iter().map(median).collect())
}

/// All at once.
fn start(arguments: &Arguments, count: u64) -> Result<Vec<Worker>> {
    let launched = (0..count).map(|_| Worker::launch(&mut arguments.pairs()));
    let workers = launched.collect::<Result<Vec<_>>>()?;
    workers.iter().try_for_each(Worker::wait_until_ready)?;
    Ok(workers)
}
