//! Every allocating function of glibc, in the shared library and linked statically.

use std::process::Command;

use crate::support::{
    memtrace::Tracing,
    report::{Report, VIEWS},
    workload::{Workload, compile},
};

/// A function of the workload with the bytes and objects that it holds at the peak, holds in the
/// end, and has allocated.
type Answer = (&'static str, (u64, u64), (u64, u64), (u64, u64));

const NOTHING: (u64, u64) = (0, 0);
const MIB: u64 = 1 << 20;

/// In the order of the calls: of what is kept to the peak, every second block is then released.
const ANSWERS: [Answer; 23] = [
    ("by_malloc", (1001, 1), NOTHING, (1018, 2)),
    ("by_malloc_of_nothing", (0, 1), (0, 1), (0, 1)),
    ("by_malloc_huge", NOTHING, NOTHING, NOTHING),
    ("by_calloc", (77, 1), NOTHING, (77, 1)),
    ("by_calloc_overflow", NOTHING, NOTHING, NOTHING),
    ("by_realloc_of_null", (500, 1), (500, 1), (500, 1)),
    ("by_realloc_in_place", (3990, 1), NOTHING, (7990, 2)),
    ("by_realloc_moved", (50_000, 1), (50_000, 1), (50_201, 3)),
    ("by_realloc_of_mapping", (3 * MIB, 1), NOTHING, (12 * MIB + 2000, 4)),
    ("by_realloc_to_nothing", NOTHING, NOTHING, (600, 1)),
    ("by_realloc_huge", (700, 1), (700, 1), (700, 1)),
    ("by_reallocarray", (620, 1), NOTHING, (920, 2)),
    ("by_reallocarray_overflow", (800, 1), (800, 1), (800, 1)),
    ("by_reallocarray_to_nothing", NOTHING, NOTHING, (55, 1)),
    ("by_posix_memalign", (900, 1), NOTHING, (900, 1)),
    ("by_posix_memalign_refused", NOTHING, NOTHING, NOTHING),
    ("by_aligned_alloc", (1280, 1), (1280, 1), (1280, 1)),
    ("by_memalign", (1100, 1), NOTHING, (1100, 1)),
    ("by_memalign_huge", NOTHING, NOTHING, NOTHING),
    ("by_valloc", (1200, 1), (1200, 1), (1200, 1)),
    ("by_pvalloc", (1300, 1), NOTHING, (1300, 1)),
    ("of_before", (321, 1), (321, 1), (321, 1)),
    ("at_the_top", (16 * MIB, 1), NOTHING, (16 * MIB, 1)),
];

/// Calls that return no memory: one of each `huge` and `overflow`, two of `posix_memalign`, one
/// of memory from before.
const FAILURES: u64 = 8;
/// Four calls of `free`, two of `realloc`.
const RELEASES_OF_BEFORE: u64 = 6;

#[test]
fn every_allocating_function_is_accounted_exactly() {
    let report = trace(&mut Command::new(compile("functions", &[])));
    check(&report);
}

#[test]
fn an_allocator_in_a_static_executable_is_accounted_exactly() {
    let report = trace(&mut Command::new(compile("functions", &["-static"])));
    check(&report);
}

fn trace(command: &mut Command) -> Report {
    let mut workload = Workload::start(command);
    let tracing = Tracing::attach(workload.pid());
    workload.work();
    tracing.stop()
}

fn check(report: &Report) {
    report.assert_nothing_lost();
    let mut sums = [NOTHING; 3];
    for (function, peak, live, allocated) in ANSWERS {
        let amounts = report.within_all(function);
        assert_eq!(amounts, [live, peak, allocated], "{function}: live, peak, allocated");
        for (sum, amount) in sums.iter_mut().zip(amounts) {
            *sum = (sum.0 + amount.0, sum.1 + amount.1);
        }
    }
    // Nothing but these functions has allocated, and the process knows the same sums.
    assert_eq!(VIEWS.map(|view| report.counted(view)), sums);
    assert_eq!(report.calls("failures"), FAILURES);
    assert_eq!(report.calls("unknown_releases"), RELEASES_OF_BEFORE);
    assert_eq!(report.calls("allocations"), sums[2].1);
    assert_eq!(report.calls("releases"), sums[2].1 - sums[0].1);
}
