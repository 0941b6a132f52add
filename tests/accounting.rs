//! Bytes and counts of C programs with known answers: exact, or wrong.

/// Functions that the C library does not have.
mod allocators;
/// The C++ operators and exceptions.
mod cpp;
/// Allocations at the end of unusual ways through a program.
mod flow;
/// Every allocating function.
mod functions;
/// Libraries that come later, and allocators that come first.
mod libraries;
/// What was live at the highest moment.
mod peak;
/// Children, and programs that become another.
mod processes;
/// Estimates from samples.
mod sampling;
/// Handlers that allocate.
mod signals;
/// Threads that share a heap, and threads that end.
mod threads;

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
