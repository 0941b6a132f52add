//! Whatever happens to memtrace, the target goes on and is as it was.

use std::process::Command;

use crate::support::{
    memtrace::{self, Tracing},
    observe::{
        breakpoints, cycles, is_loaded, kernel_programs, mapping_count, resident, state, wait_until,
    },
    report::Report,
    workload::Workload,
};

/// Ends the busy workload, which has checked every block that it was given.
fn finish(mut busy: Workload) {
    busy.say("");
    assert_eq!(busy.expect("done"), ["faults 0"]);
    assert_eq!(busy.end().code(), Some(0));
}

fn rounds(busy: &mut Workload) -> u64 {
    busy.say("r");
    busy.line().parse().expect("a number")
}

#[test]
fn nothing_stays_when_memtrace_is_killed_under_load() {
    let mut busy = Workload::c("busy");
    let mut tracing = Tracing::attach(busy.pid());
    let probes = breakpoints(busy.pid());
    assert!(probes.len() >= 10, "{probes:x?}");
    let programs = kernel_programs(tracing.pid());
    assert!(programs.len() >= 6 && programs.iter().all(|id| is_loaded(*id)), "{programs:?}");
    tracing.signal(libc::SIGKILL);
    let (status, errors) = tracing.wait();
    assert!(!status.success(), "{errors}");
    wait_until("no probe", || breakpoints(busy.pid()).is_empty());
    wait_until("no program", || !programs.iter().any(|id| is_loaded(*id)));
    let before = rounds(&mut busy);
    wait_until("progress", || rounds(&mut busy) > before + 10_000);
    finish(busy);
}

#[test]
fn nothing_stays_when_memtrace_is_killed_while_it_detaches() {
    let busy = Workload::c("busy");
    for _ in 0..cycles().div_ceil(4) {
        let mut tracing = Tracing::attach(busy.pid());
        let probes = breakpoints(busy.pid()).len();
        tracing.signal(libc::SIGINT);
        wait_until("a probe is off", || breakpoints(busy.pid()).len() < probes);
        tracing.signal(libc::SIGKILL);
        let (status, errors) = tracing.wait();
        assert!(!status.success(), "{errors}");
        wait_until("no probe", || breakpoints(busy.pid()).is_empty());
    }
    finish(busy);
}

#[test]
fn a_busy_process_survives_any_number_of_tracings() {
    let mut busy = Workload::c("busy");
    let pid = busy.pid();
    let mut after_first = None;
    for cycle in 0..cycles() {
        let report = trace_briefly(pid);
        assert!(report.calls("allocations") > 0, "cycle {cycle}");
        let lost: Vec<_> = report.losses().into_iter().filter(|loss| !is_expected(loss)).collect();
        assert_eq!(lost, Vec::<String>::new(), "cycle {cycle}");
        assert_eq!(report.total("live"), report.counted("live"), "cycle {cycle}");
        assert_eq!(breakpoints(pid), Vec::<u64>::new(), "cycle {cycle}");
        let now = (mapping_count(pid), resident(pid));
        let (mappings, memory) = *after_first.get_or_insert(now);
        assert_eq!(now.0, mappings, "cycle {cycle}");
        assert!(now.1 < memory + (1 << 20), "cycle {cycle}: {} after {memory}", now.1);
    }
    assert!(rounds(&mut busy) > 10_000);
    finish(busy);
}

/// A call of each thread may be under way when tracing begins; and with more threads than
/// processors one may be put off while it changes the totals, which then stay right.
fn is_expected(loss: &str) -> bool {
    loss.contains("calls that began before tracing") || loss.contains("composition of the peak")
}

fn trace_briefly(pid: u32) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let pid = pid.to_string();
    let output = memtrace::command()
        .args(["-d", "50ms", "--pid", &pid, "-o"])
        .arg(&path)
        .output()
        .expect("memtrace starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Report::read(&path)
}

#[test]
fn a_stopped_process_is_traced_as_it_is() {
    let simple = Workload::c("simple");
    let signal = |name: &str| {
        let pid = simple.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("starts").success());
    };
    signal("-STOP");
    wait_until("a stopped process", || state(simple.pid()) == 'T');
    let report = trace_briefly(simple.pid());
    assert_eq!(report.calls("allocations"), 0);
    assert_eq!(state(simple.pid()), 'T', "memtrace lets nobody go on");
    assert!(breakpoints(simple.pid()).is_empty());
    signal("-CONT");
    let mut simple = simple;
    simple.work();
}

#[test]
fn a_process_that_nothing_can_wake_is_traced_in_bounded_time() {
    let mut parent = Workload::c("vfork");
    wait_until("uninterruptible sleep", || state(parent.pid()) == 'D');
    let tracing = Tracing::attach(parent.pid());
    assert_eq!(state(parent.pid()), 'D');
    parent.work();
    let report = tracing.stop();
    assert_eq!(report.within("live", "main"), (200, 1));
    assert_eq!(report.calls("unknown_releases"), 1);
    assert!(breakpoints(parent.pid()).is_empty());
    assert_eq!(parent.end().code(), Some(0));
}
