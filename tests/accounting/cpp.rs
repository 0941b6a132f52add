//! The C++ operators, and exceptions that pass through frames which hold memory.

use crate::support::{memtrace::Tracing, workload::Workload};

const NOTHING: (u64, u64) = (0, 0);

#[test]
fn operators_and_exceptions_are_accounted_exactly() {
    let mut exceptions = Workload::c("exceptions");
    let tracing = Tracing::attach(exceptions.pid());
    exceptions.work();
    exceptions.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    let kept = 1001 + 8 + 384 + 77;
    assert_eq!(report.within_all("by_new"), [(77, 1), (kept, 4), (kept, 4)]);
    // The refusals allocate nothing but an exception each; the second one is caught by the library.
    assert_eq!(report.within("live", "by_new_refused"), NOTHING);
    assert_eq!(report.within("allocated", "by_new_refused").1, 2);
    assert!(report.calls("failures") >= 2);
    // Vectors of 1000 to 1020 bytes, all released by the exception, which is released as well.
    assert_eq!(report.within("live", "catcher"), NOTHING);
    let (bytes, objects) = report.within("allocated", "catcher");
    let vectors = (200 * (0..=20).map(|depth| 1000 + depth).sum::<u64>(), 200 * 21);
    assert!(bytes > vectors.0, "{bytes} bytes");
    // The exception and its text.
    assert_eq!(objects, vectors.1 + 200 * 2);
    assert_eq!(report.within("live", "by_containers"), NOTHING);
    assert_eq!(report.calls("unknown_releases"), 0);
}
