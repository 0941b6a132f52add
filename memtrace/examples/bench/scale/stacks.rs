//! More distinct stacks.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    growth::{Growth, Unit},
    reports::{self, path_text},
};
use crate::{Arguments, say, tracing::Tracing, worker::Worker};

const SIZES: [u64; 3] = [1_000, 10_000, 100_000];
/// Live allocations of each stack: a million with the most stacks.
const EACH: u64 = 10;
/// Reports that are drawn from the recording, by the ends of their names.
const FORMATS: [&str; 5] = ["html", "svg", "json", "pb.gz", "folded"];

/// Measures; the reports with the most stacks stay in `folder`.
pub fn measure(arguments: &Arguments, folder: &Path) -> Result<Growth> {
    let mut rows = Vec::new();
    let mut losses = 0;
    for size in SIZES {
        say(&format!("{size} stacks"));
        let (values, lost) = measure_size(arguments, size, folder)?;
        rows.push((size, values));
        losses += lost;
    }
    let mut costs = vec![
        ("added to maps in the kernel", Unit::Bytes),
        ("memtrace's memory", Unit::Bytes),
        ("reading, naming, .memtrace", Unit::Milliseconds),
        ("its size", Unit::Bytes),
    ];
    costs.extend(FORMATS.map(|format| (format, Unit::Milliseconds)));
    costs.push(("size of .html", Unit::Bytes));
    let remark = format!(
        "Stacks of Python and native frames, {EACH} live allocations each; {losses} losses. The \
         times of formats are those of `memtrace report`, from the recording."
    );
    Ok(Growth { size: "stacks", costs, rows, remarks: vec![remark] })
}

/// The costs, and what was lost.
fn measure_size(arguments: &Arguments, size: u64, folder: &Path) -> Result<(Vec<f64>, u64)> {
    let recording = folder.join("stacks.memtrace");
    let options = ["--force", "--output", path_text(&recording)?];
    let mut command = Command::new(&arguments.python);
    let mut worker = Worker::start(command.arg(arguments.workload("stacks.py")))?;
    let tracing = Tracing::attach(&arguments.memtrace, &[worker.pid()], folder, &options)?;
    let empty = tracing.map_memory()?;
    worker.ask(&format!("{size} {EACH}"))?;
    let added = tracing.map_memory()?.saturating_sub(empty);
    // One from a smaller size must not pass for the new one.
    remove(&recording)?;
    let stopped = tracing.stop_with(Some(&recording))?;
    let written = stopped.written.unwrap_or(stopped.after).as_secs_f64() * 1e3;
    let size_of = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len()) as f64;
    let mut values = vec![added as f64, stopped.peak_rss as f64, written, size_of(&recording)];
    for format in FORMATS {
        let report = folder.join(format!("stacks.{format}"));
        let time = reports::draw(&arguments.memtrace, &recording, &report)?;
        values.push(time.as_secs_f64() * 1e3);
    }
    values.push(size_of(&folder.join("stacks.html")));
    let losses = reports::told(&folder.join("stacks.json"))?.losses;
    Ok((values, losses))
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_file(path).with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
