//! Signal handlers that allocate: while the program does not, in the middle of its allocations,
//! and on a stack of their own.

use std::process::Command;

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{Workload, compile},
};

const HANDLERS: [&str; 3] = ["when_blocked", "when_inside", "on_another_stack"];
/// Of each handler, and of these one in three is released.
const HANDLED: u64 = 300;
const SIZE: u64 = 104;

#[test]
fn handlers_that_allocate_are_accounted_exactly() {
    let mut command = Command::new(compile("signals", &[]));
    command.env("GLIBC_TUNABLES", "glibc.malloc.tcache_count=2000");
    let mut signals = Workload::start(&mut command);
    let tracing = Tracing::attach(signals.pid());
    let sums = signals.work_and_sum();
    let report = tracing.stop();
    report.assert_nothing_lost();
    for handler in HANDLERS {
        let kept = (HANDLED * 2 / 3 * SIZE, HANDLED * 2 / 3);
        assert_eq!(report.within("live", handler), kept, "{handler}");
        let all = (HANDLED * SIZE, HANDLED);
        assert_eq!(report.within("allocated", handler), all, "{handler}");
    }
    assert_eq!(interrupted(&report, "when_blocked"), 0);
    for handler in ["when_inside", "on_another_stack"] {
        assert!(interrupted(&report, handler) > 0, "{handler} has never interrupted the allocator");
    }
    let of_handlers: u64 = HANDLERS.iter().map(|name| inside_busy(&report, name)).sum();
    let busy = report.within("allocated", "busy");
    assert_eq!((busy.0 - of_handlers * SIZE, busy.1 - of_handlers), sums.amounts("busy")[0]);
}

/// Allocations of a handler that ran within an allocating function.
fn interrupted(report: &Report, handler: &str) -> u64 {
    before(report, handler, |name| matches!(name, "malloc" | "__libc_malloc"))
}

/// Allocations of a handler that ran within `busy`.
fn inside_busy(report: &Report, handler: &str) -> u64 {
    before(report, handler, |name| name == "busy")
}

/// Objects in stacks on which a function calls the handler, directly or not.
fn before(report: &Report, handler: &str, is_wanted: impl Fn(&str) -> bool) -> u64 {
    let stacks = report.stacks();
    let matching = stacks.iter().filter(|stack| {
        let mut outer = stack.names().take_while(|name| *name != handler);
        stack.names().any(|name| name == handler) && outer.any(&is_wanted)
    });
    matching.map(|stack| stack.amount("allocated").1).sum()
}
