//! Memory over time, and what was resident at the peak.

use std::{fs, process::Command, thread, time::Duration};

use serde_json::Value;

use crate::support::{
    memtrace::{self, Tracing},
    refusal::refused,
    report::Report,
    resident::{MIB, assert_close, assert_counted},
    workload::{Workload, compile, main_python, source},
};

/// The largest value of a column.
fn most(report: &Report, column: &str) -> u64 {
    let values = report.0["timeline"][column].as_array().expect("a column");
    assert!(values.len() > 2, "{values:?}");
    values.iter().filter_map(Value::as_u64).max().expect("numbers")
}

#[test]
fn memory_that_came_and_went_is_on_the_timeline() {
    let mut consumers = Workload::start(&mut Command::new(compile("consumers", &[])));
    let tracing = Tracing::attach(consumers.pid());
    thread::sleep(Duration::from_millis(500));
    consumers.work();
    thread::sleep(Duration::from_millis(500));
    let report = tracing.stop();
    // Blocks, what is mapped in private and from the memfd, and the stacks of two threads.
    let mapped = (16 + 2 * 12 + 2 * 8) * MIB;
    assert_close(most(&report, "live"), mapped + 96 * MIB + 2_000_000, 64 << 10);
    assert_counted(most(&report, "shared"), 30 * MIB, 0);
    assert_counted(most(&report, "anonymous"), 62 * MIB, 6 * MIB);
    let times = report.0["timeline"]["seconds"].as_array().expect("a column");
    assert!(times.is_sorted_by_key(|time| time.as_f64().map(f64::to_bits)), "{times:?}");
    let first = |column: &str| report.0["timeline"][column][0].as_u64().expect("a number");
    assert_eq!((first("live"), first("shared")), (0, 0));
}

#[test]
fn the_chart_is_drawn_from_the_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (recording, chart) = (path("run.memtrace"), path("chart.svg"));
    let mut radar = Command::new(main_python());
    let mut radar = Workload::start(radar.arg(source("radar.py")));
    let tracing = Tracing::attach_with(radar.pid(), &["-o", &recording]);
    radar.work();
    let report = tracing.stop();
    let output = memtrace::run(["report", &recording, "--view", "timeline", "-o", &chart]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let chart = fs::read_to_string(&chart).expect("written");
    for part in ["memory, MiB", "since tracing began, seconds", "anonymous", "live, as traced"] {
        assert!(chart.contains(part), "{part}: {chart}");
    }
    assert!(chart.contains("most live: "), "{chart}");
    // The peak is a moment between two looks, four a second unless the machine is busy; what was resident
    // then is that of the nearest.
    let at_peak = &report.0["processes"][0]["at_peak"];
    assert!(at_peak["distance_seconds"].as_f64().expect("a time").abs() < 3.0, "{at_peak}");
    let anonymous = at_peak["anonymous"].as_u64().expect("bytes");
    assert!(anonymous > 64 * MIB, "{at_peak}");
    for kind in ["folded", "pb.gz"] {
        let file = path(&format!("out.{kind}"));
        refused(2, ["report", &recording, "--view", "timeline", "-o", &file])
            .says("a timeline cannot be written as ", ".svg");
    }
}
