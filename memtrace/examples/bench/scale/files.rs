//! More mapped files.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use super::growth::{Growth, Unit};
use crate::{Arguments, say, statistics::median, tracing::Tracing, worker::Worker};

const SIZES: [u64; 3] = [5, 50, 500];
const ROUNDS: usize = 3;

/// Measures.
pub fn measure(arguments: &Arguments) -> Result<Growth> {
    let mut rows = Vec::new();
    for size in SIZES {
        say(&format!("{size} files"));
        rows.push((size, measure_size(arguments, size)?));
    }
    let costs = vec![
        ("attaching, no tables on disk", Unit::Milliseconds),
        ("attaching, tables on disk", Unit::Milliseconds),
        ("memtrace's memory", Unit::Bytes),
        ("maps in the kernel", Unit::Bytes),
    ];
    let library = fs::metadata(arguments.library("pairs.so")).context("look at a library")?.len();
    let remark = format!(
        "Libraries of {} KiB that a Python process has loaded, besides its own files.",
        library >> 10
    );
    Ok(Growth { size: "files", costs, rows, remarks: vec![remark] })
}

fn measure_size(arguments: &Arguments, size: u64) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir_in(&arguments.folder).context("make a folder for files")?;
    for number in 0..size {
        let copy = folder.path().join(format!("library{number}.so"));
        fs::copy(arguments.library("pairs.so"), &copy).context("copy a library")?;
    }
    let mut command = Command::new(&arguments.python);
    let worker = Worker::start(command.arg(arguments.workload("files.py")).arg(folder.path()))?;
    let mut rounds = vec![Vec::new(); 4];
    for _ in 0..ROUNDS {
        let cache = tempfile::tempdir().context("make a folder for a cache")?;
        let attach = || Tracing::attach(&arguments.memtrace, &[worker.pid()], cache.path(), &[]);
        let cold = attach()?;
        let (cold_time, _) = (cold.attached_after, cold.stop()?);
        let warm = attach()?;
        let (warm_time, maps) = (warm.attached_after, warm.map_memory()?);
        let stopped = warm.stop()?;
        let times = [cold_time, warm_time].map(|time| time.as_secs_f64() * 1e3).into_iter();
        let values = times.chain([stopped.peak_rss as f64, maps as f64]);
        rounds.iter_mut().zip(values).for_each(|(all, value)| all.push(value));
    }
    Ok(rounds.into_iter().map(median).collect())
}
