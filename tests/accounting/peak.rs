//! What was live at the highest moment: the workload computes it as the tracer must.

use std::process::Command;

use crate::support::{
    memtrace::Tracing,
    workload::{Workload, compile},
};

const FUNCTIONS: [&str; 4] = ["alpha", "beta", "gamma_", "delta"];

#[test]
fn the_peak_among_many_small_steps_is_exact() {
    let high_water_marks = check("steps");
    assert!(high_water_marks > 300, "{high_water_marks}: too few to be a test");
}

#[test]
fn the_peak_of_a_single_hill_is_exact() {
    check("hill");
}

/// Returns how often the workload had more live memory than ever before.
fn check(way: &str) -> u64 {
    let mut workload = Workload::start(Command::new(compile("peak", &[])).arg(way));
    let tracing = Tracing::attach(workload.pid());
    let sums = workload.work_and_sum();
    let report = tracing.stop();
    report.assert_nothing_lost();
    let mut peak = (0, 0);
    for function in FUNCTIONS {
        let expected = sums.amounts(function);
        assert_eq!(report.within("live", function), expected[0], "{function}");
        assert_eq!(report.within("peak", function), expected[1], "{function}");
        peak = (peak.0 + expected[1].0, peak.1 + expected[1].1);
    }
    let [live, highest, allocated, count] = *sums.values("all") else { panic!("four values") };
    assert_eq!(report.counted("live").0, live);
    assert_eq!(report.counted("peak"), peak);
    assert_eq!(report.counted("peak").0, highest);
    assert_eq!(report.counted("allocated"), (allocated, count));
    sums.values("marks")[0]
}
