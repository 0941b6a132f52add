//! Estimates from samples: right on average, and gone when the memory is.

use crate::support::{memtrace::Tracing, report::Report, workload::Workload};

#[test]
fn estimates_lie_within_four_standard_errors_of_the_truth() {
    let mut million = Workload::start(&mut std::process::Command::new(
        crate::support::workload::compile("million", &["-lm"]),
    ));
    let tracing = Tracing::attach_with(million.pid(), &["--sample", "64KiB"]);
    let sums = million.work_and_sum();
    let report = tracing.stop();
    assert_eq!(report.losses(), Vec::<String>::new());
    // Objects are rounded for each stack.
    assert_eq!(report.total("allocated").0, report.counted("allocated").0);
    assert_eq!(report.0["session"]["sample_interval_bytes"], 65_536);
    for view in ["live", "allocated"] {
        check(&report, view, sums.values(view));
    }
    // What is released takes the very weight with it that it came with.
    assert_eq!(report.within("live", "released"), (0, 0));
    assert!(report.within("allocated", "released").0 > 0);
    // Counted, not estimated: a million, and twice as many as are live.
    assert_eq!(report.calls("allocations"), 1_000_000 + 2 * 4096);
}

fn check(report: &Report, view: &str, truth: &[u64]) {
    let [bytes, objects, byte_error, object_error] = *truth else { panic!("four values") };
    let estimate = report.within(view, "mixed");
    let byte_distance = estimate.0.abs_diff(bytes);
    assert!(byte_distance <= 4 * byte_error, "{view}: {estimate:?} bytes of {truth:?}");
    let object_distance = estimate.1.abs_diff(objects);
    assert!(object_distance <= 4 * object_error, "{view}: {estimate:?} objects of {truth:?}");
    // Nor is it the truth: then it would be no estimate.
    assert_ne!(byte_distance, 0);
}
