//! More live allocations.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::{
    growth::{Growth, Unit},
    reports::{self, path_text},
};
use crate::{Arguments, say, tracing::Tracing, worker::Worker};

const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// Room for each of the sizes: the default is too small for the last one.
const ROOM: &str = "16777216";
/// More than there is room for by default, and that.
const TOO_MANY: u64 = 4_000_000;
const DEFAULT_ROOM: u64 = 2 << 20;

/// Measures.
pub fn measure(arguments: &Arguments) -> Result<Growth> {
    let sizes = if arguments.quick { &SIZES[..3] } else { &SIZES };
    let mut rows = Vec::new();
    for size in sizes {
        say(&format!("{size} live allocations"));
        rows.push((*size, measure_size(arguments, *size)?));
    }
    let costs = vec![
        ("tracing them", Unit::Milliseconds),
        ("each", Unit::NanosecondsEach),
        ("added to maps in the kernel", Unit::Bytes),
        ("each", Unit::BytesEach),
        ("memtrace's memory", Unit::Bytes),
        ("report", Unit::Milliseconds),
    ];
    Ok(Growth { size: "live allocations", costs, rows, remarks: vec![limit(arguments)?] })
}

fn measure_size(arguments: &Arguments, size: u64) -> Result<Vec<f64>> {
    let folder = tempfile::tempdir_in(&arguments.folder).context("make a folder for reports")?;
    let report = folder.path().join("live.html");
    let options = ["--max-live", ROOM, "--output", path_text(&report)?];
    let mut worker = Worker::start(&mut Command::new(arguments.library("live")))?;
    let tracing = Tracing::attach(&arguments.memtrace, &[worker.pid()], folder.path(), &options)?;
    let empty = tracing.map_memory()?;
    let each = worker.ask(&size.to_string())?;
    let added = tracing.map_memory()?.saturating_sub(empty) as f64;
    let stopped = tracing.stop_with(Some(&report))?;
    let written = stopped.written.unwrap_or(stopped.after).as_secs_f64() * 1e3;
    let count = size as f64;
    Ok(vec![each * count / 1e6, each, added, added / count, stopped.peak_rss as f64, written])
}

/// What happens when there are too many.
fn limit(arguments: &Arguments) -> Result<String> {
    say("more live allocations than there is room for");
    let folder = tempfile::tempdir_in(&arguments.folder).context("make a folder for reports")?;
    let report = folder.path().join("live.json");
    let options = ["--output", path_text(&report)?];
    let mut worker = Worker::start(&mut Command::new(arguments.library("live")))?;
    let tracing = Tracing::attach(&arguments.memtrace, &[worker.pid()], folder.path(), &options)?;
    worker.ask(&TOO_MANY.to_string())?;
    tracing.stop()?;
    let reports::Told { live, losses } = reports::told(&report)?;
    let sum = live + losses;
    let verdict = if sum == TOO_MANY { "all of them" } else { "NOT all of them" };
    Ok(format!(
        "With the default `--max-live` of {DEFAULT_ROOM}, {TOO_MANY} live allocations make a report \
         with {live} and {losses} counted losses: {verdict}. The table above has `--max-live {ROOM}`."
    ))
}
