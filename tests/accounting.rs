//! Bytes and counts of C programs with known answers: exact, or wrong.

use crate::support::{memtrace::Tracing, workload::Workload};

#[test]
fn live_peak_and_allocated_are_exact() {
    let mut simple = Workload::c("simple");
    let tracing = Tracing::attach(simple.pid());
    simple.work();
    let report = tracing.stop();
    assert_eq!(report.losses(), Vec::<String>::new());
    assert_eq!(report.within("live", "keep"), (3000, 2));
    assert_eq!(report.within("peak", "keep"), (3300, 3));
    assert_eq!(report.within("allocated", "keep"), (3300, 3));
    assert_eq!(report.total("live"), report.counted("live"));
}
