//! What reports say, how large they are, and how long it takes to draw them from a recording.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What a JSON report says.
pub struct Told {
    /// Live allocations.
    pub live: u64,
    /// Everything that could not be recorded.
    pub losses: u64,
}

/// Reads a JSON report.
pub fn told(report: &Path) -> Result<Told> {
    let text = fs::read(report).with_context(|| format!("read {}", report.display()))?;
    let report: Value = serde_json::from_slice(&text).context("parse memtrace's report")?;
    let live = report["totals"]["live"]["objects"].as_u64().context("find what is live")?;
    let losses = report["losses"].as_array().context("find the losses")?;
    let losses = losses.iter().filter_map(|loss| loss["count"].as_u64()).sum();
    Ok(Told { live, losses })
}

/// Each report is drawn so often; the quickest counts.
const TRIALS: usize = 3;

/// Draws a report from a recording.
pub fn draw(memtrace: &Path, recording: &Path, report: &Path) -> Result<Duration> {
    let times = (0..TRIALS).map(|_| draw_once(memtrace, recording, report));
    times.collect::<Result<Vec<_>>>()?.into_iter().min().context("draw a report")
}

fn draw_once(memtrace: &Path, recording: &Path, report: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut command = Command::new(memtrace);
    command.arg("report").arg(recording).arg("--force").arg("--output").arg(report);
    let status = command.stdout(Stdio::null()).status().context("start memtrace report")?;
    ensure!(status.success(), "memtrace report ended with {status}");
    Ok(start.elapsed())
}

/// A path as an argument among others that are text.
pub fn path_text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
