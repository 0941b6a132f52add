//! Processes that cannot be read as a whole: what can be read is told, the rest is named as missing.

use std::process::Command;

use super::{is_within, take, take_with, threads};
use crate::support::{
    memtrace,
    observe::{self, wait_until},
    refusal::{self, refused},
    workload::{self, Workload},
};

#[test]
fn a_process_in_uninterruptible_sleep_is_told_as_any_other() {
    let mut workload = Workload::c("vfork");
    let pid = workload.pid();
    wait_until("uninterruptible sleep", || observe::state(pid) == 'D');
    let snapshot = take(pid);
    let thread = &threads(&snapshot)[0];
    assert_eq!((&thread["state"], &thread["system_call"]), (&"D".into(), &"vfork".into()));
    assert!(is_within(thread, "main"), "{thread}");
    let missing = snapshot["missing"].as_array().expect("a list");
    assert!(missing.iter().any(|part| part["part"] == "objects"), "{missing:?}");
    workload.go();
    workload.expect("done");
}

#[test]
fn a_program_without_python_has_native_stacks_and_a_heap() {
    let workload = Workload::c("simple");
    let snapshot = take(workload.pid());
    let thread = &threads(&snapshot)[0];
    assert!(is_within(thread, "main") && thread["is_python"] == false, "{thread}");
    assert!(snapshot["heap"]["total"]["live"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(snapshot["objects"].is_null());
}

#[test]
fn a_static_program_has_no_python_to_doubt_and_a_heap_of_unknown_version() {
    for flag in ["-static", "-static-pie"] {
        let workload = Workload::start(&mut Command::new(workload::compile("simple", &[flag])));
        let snapshot = take(workload.pid());
        assert_eq!(snapshot["notes"], serde_json::json!([]), "{flag}");
        let missing = snapshot["missing"].as_array().expect("a list");
        let reason = missing.iter().find(|missing| missing["part"] == "heap").expect("the heap");
        let reason = reason["reason"].as_str().expect("a reason");
        assert!(reason.contains("glibc is linked into the program"), "{flag}: {reason}");
    }
}

#[test]
fn an_allocator_besides_the_c_librarys_is_named() {
    let workload = Workload::c("own_allocator");
    let snapshot = take(workload.pid());
    let others = snapshot["other_allocators"].as_array().expect("a list");
    let names: Vec<_> = others.iter().filter_map(serde_json::Value::as_str).collect();
    assert!(matches!(*names, [name] if name.contains("own_allocator")), "{names:?}");
}

#[test]
fn what_there_is_no_time_for_is_missing() {
    let python = workload::main_python();
    let workload = Workload::start(Command::new(python).arg(workload::source("blocked.py")));
    let snapshot = take_with(workload.pid(), &["--timeout", "1ms"]);
    assert!(threads(&snapshot).len() > 8);
    let missing = snapshot["missing"].as_array().expect("a list");
    let reason = |part: &str| missing.iter().find(|missing| missing["part"] == part);
    let objects = reason("objects").expect("objects take longer");
    assert!(objects["reason"].as_str().is_some_and(|reason| reason.contains("time")), "{objects}");
}

#[test]
fn other_kinds_of_files_and_processes_are_refused() {
    let workload = Workload::c("simple");
    let pid = workload.pid().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let folded = folder.path().join("out.folded");
    let folded = folded.to_str().expect("UTF-8");
    refused(2, ["snapshot", "--pid", &pid, "-o", folded]).says(".html, .json", "");
    refused(3, ["snapshot", "--pid", "2147483647"]).says("does not exist", "pgrep");
    refused(2, ["snapshot", "--pid", "x"]).says("not a process id", "--help");
    let output = refusal::as_nobody(&["snapshot", "--pid", &pid]);
    refusal::refusal(4, &output).says("not permitted", "sudo");
}

#[test]
fn the_terminal_and_the_page_tell_what_the_programs_form_tells() {
    let python = workload::main_python();
    let workload = Workload::start(Command::new(python).arg(workload::source("blocked.py")));
    let pid = workload.pid().to_string();
    let output = memtrace::run(["snapshot", "--pid", &pid]);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success());
    for wanted in ["Waiter.acquire (blocked.py:", "Heap of glibc", "Python objects by type", "RSS"]
    {
        assert!(text.contains(wanted), "{wanted} in {text}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.html");
    assert!(super::run(workload.pid(), &path, &[]).status.success());
    let page = std::fs::read_to_string(path).expect("memtrace wrote a page");
    assert!(page.contains("Waiter.acquire (blocked.py:") && page.contains("Heap of glibc"));
}
