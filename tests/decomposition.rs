//! What resident memory consists of: classes that add up to what the kernel counts.

use std::process::Command;

use crate::support::{
    memtrace::{self, Tracing},
    observe::{resident, wait_until},
    report::Report,
    resident::{MIB, assert_close},
    workload::{Workload, compile, main_python, source},
};

#[test]
fn every_class_has_what_the_program_gave_it() {
    let mut consumers = Workload::start(&mut Command::new(compile("consumers", &[])));
    let tracing = Tracing::attach(consumers.pid());
    consumers.work();
    let seen = resident(consumers.pid());
    let report = tracing.stop();
    let decomposition = report.decomposition(0);
    decomposition.assert_adds_up(seen);
    // With the direct mapping.
    assert_close(decomposition.class("live"), 48 * MIB + 2_000_000, 64 << 10);
    assert_close(decomposition.bytes("absent_live_bytes"), 64 * MIB - 4096, 4096);
    assert_close(decomposition.class("data"), 8 * MIB, 512 << 10);
    assert_close(decomposition.class("shared"), 30 * MIB, 0);
    assert_close(decomposition.class("stacks"), 6 * MIB, 256 << 10);
    // Sixteen bytes for each block: a header, and the rounding of 2,000 bytes.
    assert_close(decomposition.class("overhead"), 16 * 1002, 8 << 10);
    assert_close(decomposition.class("free"), 1, 256 << 10);
    // What was there before.
    assert_close(decomposition.class("untraced"), 0, 256 << 10);
    let segment = |name, bytes, counted| {
        assert_eq!(report.segment(name), (bytes, vec![(0, counted)]), "{name}");
    };
    segment("memfd known", 12 * MIB, 24 * MIB);
    segment("System V segment", 6 * MIB, 6 * MIB);
}

#[test]
fn a_segment_of_two_processes_is_counted_once() {
    let mut maker = Command::new(main_python());
    maker.arg(source("sharers.py"));
    let (mut maker, lines) = Workload::start_and_read(&mut maker);
    let mut user = Command::new(main_python());
    user.arg(source("sharers.py")).arg(&lines[0]);
    let mut user = Workload::start(&mut user);
    let pids = format!("{},{}", maker.pid(), user.pid());
    let tracing = Tracing::attach_all(&pids);
    maker.work();
    user.work();
    let seen = [maker.pid(), user.pid()].map(resident);
    let report = tracing.stop();
    for (process, seen) in seen.into_iter().enumerate() {
        let decomposition = report.decomposition(process);
        decomposition.assert_adds_up(seen);
        assert_close(decomposition.class("live"), 24 * MIB, MIB);
        assert_close(decomposition.class("shared"), 32 * MIB, 64 << 10);
        // NumPy asks for zeros that it never touches.
        assert_close(decomposition.bytes("absent_live_bytes"), 40 * MIB - 8192, 64 << 10);
    }
    let (once, users) = report.segment(&lines[0]);
    assert_eq!((once, users), (48 * MIB, vec![(0, 32 * MIB), (1, 32 * MIB)]));
    assert!(user.end().success() && maker.end().success());
}

#[test]
fn processes_of_every_kind_add_up_while_they_work() {
    let mut demo = Command::new(main_python()).arg(source("demo.py")).spawn().expect("it starts");
    let mut busy = Workload::c("busy");
    std::thread::sleep(std::time::Duration::from_secs(3));
    for pid in [demo.id(), busy.pid()] {
        let mut looked = None;
        wait_until("a look at its memory", || {
            looked = look(pid);
            looked.is_some()
        });
        let report = looked.expect("it was just there");
        let rss = report.0["processes"][0]["rss_bytes"].as_u64().expect("it runs");
        report.decomposition(0).assert_adds_up(rss);
    }
    // They were started here.
    let _ = demo.kill().and_then(|()| demo.wait());
    busy.say("");
}

/// Of a second of tracing; `None` if there was no time to look at the memory, which is said.
fn look(pid: u32) -> Option<Report> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let (pid, file) = (pid.to_string(), path.to_str().expect("text"));
    let output = memtrace::run(["-d", "1s", "-p", &pid, "-o", file]);
    let summary = String::from_utf8_lossy(&output.stdout);
    let report = Report::read(&path);
    if report.0["processes"][0]["decomposition"].is_null() {
        assert!(report.0["notes"].to_string().contains("consists of is not known"), "{summary}");
        return None;
    }
    assert!(summary.contains(", by use\n") && summary.contains("not explained"), "{summary}");
    Some(report)
}
