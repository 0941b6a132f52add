//! Allocators that have more functions than the C library: jemalloc's, and C++ operators.

use crate::support::{memtrace::Tracing, workload::Workload};

#[test]
fn functions_of_jemalloc_are_accounted_and_an_untraced_operator_new_is_told_of() {
    let mut workload = Workload::c("own_allocator");
    let tracing = Tracing::attach(workload.pid());
    workload.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    // Live, at the peak, and allocated.
    assert_eq!(report.within_all("by_mallocx"), [(3003, 1), (3003, 1), (6006, 3)]);
    assert_eq!(report.within_all("by_rallocx"), [(700, 1), (700, 1), (1200, 2)]);
    assert_eq!(report.within_all("by_malloc"), [(55, 1), (55, 1), (99, 2)]);
    assert_eq!(report.calls("failures"), 2);
    // What the operator gives is not seen, and what becomes of it is.
    assert_eq!(report.within_all("by_new"), [(0, 0); 3]);
    assert_eq!(report.calls("unknown_releases"), 200);
    let notes = report.0["notes"].to_string();
    assert_eq!(notes.matches("operator new is not traced").count(), 1, "{notes}");
}
