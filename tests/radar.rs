//! A composite of five sources: what is alive at the peak is not what is allocated in total.

use std::process::Command;

use crate::support::{
    memtrace::Tracing,
    report::Report,
    resident::MIB,
    workload::{Workload, main_python, source},
};

/// Two columns of four million float64.
const GRID: u64 = 64 * MIB;
const SOURCES: u64 = 5;

fn trace(arguments: &[&str]) -> Report {
    let mut radar = Command::new(main_python());
    let mut radar = Workload::start(radar.arg(source("radar.py")).args(arguments));
    let tracing = Tracing::attach_with(radar.pid(), &["--view", "peak"]);
    radar.work();
    tracing.stop()
}

/// Bytes of the line with this function: at the peak, and allocated.
fn line(report: &Report, function: &str) -> (u64, u64) {
    let lines = report.0["lines"].as_array().expect("lines").iter();
    let of_function = lines.filter(|line| line["function"] == function);
    let bytes = |line: &serde_json::Value, view: &str| {
        line["amounts"][view]["bytes"].as_u64().expect("bytes")
    };
    let pairs = of_function.map(|line| (bytes(line, "peak"), bytes(line, "allocated")));
    pairs.fold((0, 0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1))
}

#[test]
fn one_grid_instead_of_five_saves_at_most_one_at_the_peak() {
    let reports = [trace(&[]), trace(&["once"])];
    let grids = reports.each_ref().map(|report| line(report, "build_grid"));
    let [(at_peak, allocated), (_, allocated_once)] = grids;
    // The sum promises four grids and what it takes to make them.
    assert!(allocated >= SOURCES * GRID && allocated - allocated_once >= (SOURCES - 1) * GRID);
    // The peak knows better, before anything is changed: one grid is alive then.
    assert!((GRID..2 * GRID).contains(&at_peak), "{at_peak}");
    let [before, after] = reports.each_ref().map(|report| report.counted("peak").0);
    println!(
        "build_grid: {allocated} allocated, {at_peak} at the peak; peak {before}, {after} once"
    );
    assert!(before.saturating_sub(after) <= GRID, "{before} before, {after} after");
    // What is alive at the peak is the cache that nobody clears.
    let (cached, _) = line(&reports[0], "coordinates");
    assert!(cached >= SOURCES * GRID, "{cached}");
}
