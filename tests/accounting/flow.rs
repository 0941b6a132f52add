//! Allocations at the end of unusual ways through a program: inside the C library, past a
//! `longjmp`, and far down a recursion.

use crate::support::{
    memtrace::Tracing,
    report::{Report, Stack},
    workload::Workload,
};

const NOTHING: (u64, u64) = (0, 0);

#[test]
fn memory_is_accounted_whatever_way_the_program_took() {
    let mut flow = Workload::c("flow");
    let tracing = Tracing::attach(flow.pid());
    let sums = flow.work_and_sum();
    let report = tracing.stop();
    report.assert_nothing_lost();
    let live = |function| report.within("live", function);
    assert_eq!(live("by_strdup"), (100 + 51, 2));
    assert_eq!(live("by_asprintf"), (501, 1));
    assert_eq!(live("by_getline"), (sums.values("by_getline")[0], 1));
    assert_eq!(live("by_open_memstream"), (10_001, 1));
    for function in ["by_fopen", "by_qsort", "by_opendir"] {
        assert_eq!(live(function), NOTHING, "{function}");
        assert!(report.within("allocated", function).1 >= 1, "{function}");
    }
    for view in ["live", "allocated"] {
        assert_eq!(report.within(view, "jumped_over"), (5021, 6), "{view}");
        assert_eq!(report.within(view, "jumper"), (5010, 5), "{view}");
    }
    assert_eq!(report.calls("unknown_releases"), 0);
    assert_eq!(report.calls("failures"), 0);
    deep_stacks_are_cut_and_say_so(&report);
}

fn deep_stacks_are_cut_and_say_so(report: &Report) {
    assert_eq!(report.within("live", "descend"), (2 * 12_345, 2));
    // The outermost frames of the deep one are missing, and with them its caller.
    assert_eq!(report.within("live", "shallow"), (12_345, 1));
    assert_eq!(report.within("live", "deep"), NOTHING);
    let stacks = report.stacks();
    // Deep stacks touch pages as well.
    let live = stacks.iter().filter(|stack| stack.amount("live").0 > 0);
    let cut: Vec<_> = live.filter(|stack| stack.has_gap()).collect();
    let [cut] = &*cut else { panic!("{} stacks with gaps", cut.len()) };
    assert_eq!(cut.amount("live"), (12_345, 1));
    assert_eq!(cut.names().next(), Some("incomplete: the stack is deeper than 512 frames"));
    assert_eq!(depth(cut), 512 - 2);
    let whole = stacks.iter().find(|stack| stack.names().any(|name| name == "shallow"));
    assert_eq!(depth(whole.expect("asserted above")), 401);
}

/// Frames of the recursion.
fn depth(stack: &Stack<'_>) -> usize {
    stack.names().filter(|name| *name == "descend").count()
}
