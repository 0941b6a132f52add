//! Threads that allocate on one heap at once, and threads that end.

use std::process::Command;

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{Sums, Workload, compile},
};

const MIB: u64 = 1 << 20;
const THREADS: u64 = 8;

#[test]
fn threads_that_reuse_each_others_addresses_are_accounted_exactly() {
    let mut command = Command::new(compile("threads", &[]));
    // One heap and no caches: what one thread releases is what another one gets next.
    command.env("MALLOC_ARENA_MAX", "1").env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0");
    check_chains(&mut command);
}

#[test]
fn threads_with_heaps_and_caches_of_their_own_are_accounted_exactly() {
    check_chains(&mut Command::new(compile("threads", &[])));
}

fn check_chains(command: &mut Command) {
    let mut threads = Workload::start(command);
    let tracing = Tracing::attach(threads.pid());
    let sums = threads.work_and_sum();
    let report = tracing.stop();
    report.assert_nothing_lost();
    for thread in 0..THREADS {
        check_chain(&report, &sums, thread);
    }
    assert_eq!(report.within_all("at_the_top"), [(0, 0), (64 * MIB, 1), (64 * MIB, 1)]);
    // `free` of glibc 2.43 begins anew in a thread that has no cache yet: the same release twice.
    assert!(report.calls("unknown_releases") <= THREADS);
    let (counted, allocated) = (report.counted("live").1, report.counted("allocated").1);
    assert_eq!(report.calls("allocations"), allocated);
    assert_eq!(report.calls("releases"), allocated - counted);
}

fn check_chain(report: &Report, sums: &Sums, thread: u64) {
    let at_peak = sums.amounts(&format!("peak_{thread}"))[0];
    let at_end = sums.amounts(&format!("chain_{thread}"));
    let function = format!("chain_{thread}");
    assert_eq!(report.within("live", &function), at_end[0], "{function}");
    assert_eq!(report.within("peak", &function), at_peak, "{function}");
    assert_eq!(report.within("allocated", &function), at_end[1], "{function}");
}

#[test]
fn threads_that_end_leave_exact_numbers() {
    let mut churn = Workload::c("churn");
    let tracing = Tracing::attach(churn.pid());
    churn.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    // Thread `n` of a thousand leaks `n + 1` bytes and has held three times as much.
    let leaked = (500_500, 1000);
    assert_eq!(report.within("live", "leak"), leaked);
    assert_eq!(report.within("allocated", "leak"), leaked);
    assert_eq!(report.within("live", "hold_for_the_thread"), (0, 0));
    assert_eq!(report.within("allocated", "hold_for_the_thread"), (3 * 500_500, 1000));
    assert_eq!(report.within("live", "short_life"), leaked);
    // Only the loading of the unwinder, on the first exit, may allocate besides.
    assert_eq!(report.within("live", "leak_and_wait"), (20 * 888, 20));
    assert_eq!(report.within("allocated", "leak_and_wait"), (20 * (888 + 999), 40));
    let exits = report.within("live", "leak_and_exit");
    assert!(exits.0 >= 20 * 777 && exits.1 >= 20, "{exits:?}");
}
