//! Children that allocate, and programs that become another.

use std::process::Command;

use crate::support::{
    memtrace::{Tracing, run},
    report::Report,
    workload::{Workload, compile},
};

const FORKS: u64 = 40;
const VFORKS: u64 = 5;

#[test]
fn children_do_not_disturb_the_numbers_of_their_parent() {
    let mut children = Workload::c("children");
    let tracing = Tracing::attach(children.pid());
    let sums = children.work_and_sum();
    let report = tracing.stop();
    report.assert_nothing_lost();
    assert_eq!(report.0["processes"].as_array().map(Vec::len), Some(1));
    assert_eq!(report.within_all("child_keeps"), [(0, 0); 3]);
    assert_eq!(report.within_all("forks"), [(0, 0); 3], "{FORKS} of them");
    // The blocks of 500 to 599 bytes, without every fourth.
    assert_eq!(report.within("allocated", "parent_keeps"), (54_950, 100));
    assert_eq!(report.within("live", "parent_keeps"), (54_950 - 25 * 548, 75));
    assert_eq!(report.within_all("parent_goes_on"), [(60_000, 1); 3]);
    // It shares the memory of its parent, and what it allocates there stays.
    assert_eq!(report.within("live", "vforks"), (VFORKS * 4321, VFORKS));
    assert_eq!(report.within("live", "spawns"), (0, 0));
    assert_eq!(report.within("live", "thread_keeps"), sums.amounts("thread_keeps")[0]);
    // A thread that ends gives back what glibc has cached for it, which nobody asked for.
    assert!(report.calls("unknown_releases") <= 1);
}

/// Each has its own probes on the same functions of the same file.
#[test]
fn processes_that_are_traced_together_are_told_apart() {
    let program = compile("simple", &[]);
    let start = |_| Workload::start(&mut Command::new(&program));
    let mut workloads: Vec<_> = (0..3).map(start).collect();
    let pids: Vec<_> = workloads.iter().map(|workload| workload.pid().to_string()).collect();
    let tracing = Tracing::attach_all(&pids.join(","));
    // The last one allocates nothing.
    workloads[..2].iter_mut().for_each(Workload::work);
    let report = tracing.stop();
    report.assert_nothing_lost();
    let processes = report.0["processes"].as_array().expect("processes").iter();
    let live: Vec<_> =
        processes.map(|process| process["amounts"]["live"]["bytes"].clone()).collect();
    assert_eq!(live, [3000, 3000, 0]);
}

#[test]
fn a_process_that_becomes_another_program_is_traced_anew() {
    let mut successor = Workload::c("successor");
    let mut tracing = Tracing::attach(successor.pid());
    successor.go();
    successor.expect("ready");
    tracing.expect("memtrace: tracing process");
    successor.work();
    let report = tracing.stop();
    check_programs(&report, 0);
}

#[test]
fn a_command_that_becomes_another_program_is_traced_from_its_first_instruction() {
    let folder = tempfile::tempdir().expect("a folder for the report");
    let file = folder.path().join("report.json");
    let successor = compile("successor", &[]);
    let arguments = ["--quiet".as_ref(), "--output".as_ref(), file.as_os_str(), "--".as_ref()];
    let output = run(arguments.into_iter().chain([successor.as_os_str(), "alone".as_ref()]));
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    let report = Report::read(&file);
    check_programs(&report, 0);
}

/// Both programs are there, each in its own process entry, the first one ended.
fn check_programs(report: &Report, first: usize) {
    report.assert_nothing_lost();
    let processes = report.0["processes"].as_array().expect("processes");
    assert_eq!(processes.len(), first + 2);
    assert_eq!(processes[first]["pid"], processes[first + 1]["pid"]);
    assert!(processes[first]["ended_seconds"].is_number());
    for (index, function, size) in [(0, "first_program", 1234), (1, "second_program", 56_789)] {
        assert_eq!(report.within_all(function), [(size, 1); 3], "{function}");
        let of_function = |stack: &serde_json::Value| {
            stack["process"] == first + index && stack["amounts"]["live"]["bytes"] == size
        };
        assert!(report.0["stacks"].as_array().expect("stacks").iter().any(of_function));
    }
}
