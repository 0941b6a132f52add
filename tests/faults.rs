//! What goes wrong around memtrace: tables that are full, a loader that is late, targets that
//! change and die all the time, more threads than processors. What is shown stays true, and what is
//! not shown is counted.

use std::{collections::HashSet, thread, time::Duration};

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{Workload, main_python},
};

const BLOCKS: u64 = 4096;
const BLOCK_BYTES: u64 = 100;

/// Traces `branches` up to the moment in which all blocks are live, or until all are released.
fn trace_branches(options: &[&str], to_the_end: bool) -> Report {
    let mut branches = Workload::c("branches");
    let tracing = Tracing::attach_with(branches.pid(), options);
    branches.work();
    if to_the_end {
        branches.work();
    }
    tracing.stop()
}

/// How often something was lost whose description has these words.
fn lost(report: &Report, words: &str) -> u64 {
    let losses = report.0["losses"].as_array().expect("losses").iter();
    let matching = losses.filter(|loss| loss.to_string().contains(words));
    matching.map(|loss| loss["count"].as_u64().expect("a count")).sum()
}

#[test]
fn a_full_table_of_live_allocations_is_told_and_the_rest_is_right() {
    let report = trace_branches(&["--max-live", "1024"], false);
    let (bytes, objects) = report.within("live", "main");
    let missing = lost(&report, "table of live allocations was full");
    assert!(objects >= 900, "{objects} recorded");
    assert_eq!(objects + missing, BLOCKS);
    assert_eq!(bytes, objects * BLOCK_BYTES);
    assert_eq!(report.total("live"), report.counted("live"));
}

#[test]
fn what_was_not_recorded_is_not_subtracted_either() {
    let report = trace_branches(&["--max-live", "1024"], true);
    let missing = lost(&report, "table of live allocations was full");
    assert!(missing > 0);
    assert_eq!(report.within("live", "main"), (0, 0));
    assert_eq!(report.calls("unknown_releases"), missing);
    assert_eq!(report.calls("releases") + missing, BLOCKS);
}

#[test]
fn a_full_table_of_stacks_is_told_and_the_rest_is_right() {
    let report = trace_branches(&["--max-stacks", "1024"], false);
    let missing = lost(&report, "table of totals was full");
    let (bytes, objects) = report.total("live");
    assert!(missing > 0, "{:?}", report.losses());
    assert_eq!(objects + missing, BLOCKS);
    assert_eq!(bytes, objects * BLOCK_BYTES);
    assert_eq!((bytes, objects), report.counted("live"));
    // The pages that the blocks are on have stacks of their own.
    let mut stacks = report.stacks();
    stacks.retain(|stack| stack.amount("live").1 > 0);
    let ways: HashSet<String> = stacks.iter().map(|stack| way(stack.names())).collect();
    assert_eq!(ways.len(), stacks.len(), "no stack is there twice");
}

/// The decisions on the way to an allocation; empty if the stack is not known.
fn way<'name>(names: impl Iterator<Item = &'name str>) -> String {
    let decisions: Vec<_> = names.filter(|name| ["left", "right"].contains(name)).collect();
    assert!(decisions.is_empty() || decisions.len() == 12, "{decisions:?}");
    decisions.join(" ")
}

#[test]
fn a_loader_that_is_stopped_under_load_tells_what_it_missed() {
    let mut functions = Workload::python(&main_python(), "functions");
    let tracing = Tracing::attach(functions.pid());
    tracing.signal(libc::SIGSTOP);
    functions.work();
    thread::sleep(Duration::from_secs(10));
    tracing.signal(libc::SIGCONT);
    let report = tracing.stop();
    assert!(lost(&report, "event buffer was full") > 0, "{:?}", report.losses());
    let (named, bytes) = made(&report);
    assert!((100..20_000).contains(&named), "{named} named");
    let stacks = report.stacks();
    let unnamed = stacks.iter().filter(|stack| stack.has_gap()).map(|stack| stack.amount("live").0);
    assert!(bytes + unnamed.sum::<u64>() >= (1001..21_001).sum());
    assert_eq!(report.total("live"), report.counted("live"));
}

/// The functions of `functions.py` that have their names, and their bytes. A name that is there is
/// the right one.
fn made(report: &Report) -> (u64, u64) {
    let (mut named, mut total) = (0, 0);
    for stack in report.stacks() {
        let (bytes, objects) = stack.amount("live");
        let Some(number) = stack.names().find_map(|name| name.strip_prefix("made_")) else {
            continue;
        };
        let number: u64 = number.parse().expect("a number");
        assert_eq!((bytes, objects), (1001 + number, 1), "made_{number}");
        named += 1;
        total += bytes;
    }
    (named, total)
}

#[test]
fn a_target_that_changes_all_the_time_and_dies_is_followed_to_its_end() {
    let mut lives = Workload::c("lives");
    let tracing = Tracing::attach(lives.pid());
    lives.go();
    let report = tracing.end();
    let all = report.within("allocated", "keep");
    assert!(all.1 <= 21 * 100, "{all:?}");
    assert_eq!(all.0, all.1 * 1000);
    for process in report.0["processes"].as_array().expect("processes") {
        assert!(process["amounts"]["live"]["objects"].as_u64() <= Some(110), "{process}");
    }
}

#[test]
fn frames_of_sixty_four_threads_are_never_mixed() {
    let mut crowd = Workload::c("crowd");
    let tracing = Tracing::attach(crowd.pid());
    crowd.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    for stack in report.stacks() {
        let owners: HashSet<_> = stack.names().filter_map(owner).collect();
        assert!(owners.len() <= 1, "{:?}", stack.names().collect::<Vec<_>>());
    }
    for thread in 0..64 {
        let bytes: u64 = (0..16).map(|place| 1000 * thread + place + 1).sum();
        assert_eq!(report.within("live", &format!("thread_{thread}")), (bytes, 16));
        assert_eq!(report.within("allocated", &format!("leaf_{thread}")).1, 400);
    }
}

/// The number of the thread that a function of `crowd.c` belongs to.
fn owner(name: &str) -> Option<&str> {
    ["leaf_", "step_", "thread_"].into_iter().find_map(|kind| name.strip_prefix(kind))
}
