//! Snapshots of processes in known states.

/// What a snapshot costs the process, and that it always ends.
mod harmless;
/// Memory by use, and who holds it.
mod memory;
/// What is said of processes that cannot be read as a whole.
mod partial;
/// Stacks, compared with what Python and gdb say of the same threads.
mod stacks;

use std::{path::Path, process::Output};

use serde_json::Value;

use crate::support::{memtrace, observe, report::Report};

/// Takes a snapshot and reads it as JSON. A slower machine has more than the usual ten seconds: on an
/// emulated one the kernel takes several of them to load what reads the stacks.
#[track_caller]
fn take(pid: u32) -> Value {
    let seconds = format!("{}s", observe::patience().as_secs() / 6);
    take_with(pid, &["--timeout", &seconds])
}

/// As [`take`], with more options.
#[track_caller]
fn take_with(pid: u32, options: &[&str]) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.json");
    let output = run(pid, &path, options);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Report::read(&path).0
}

fn run(pid: u32, path: &Path, options: &[&str]) -> Output {
    let pid = pid.to_string();
    let mut arguments = vec!["snapshot", "--pid", &pid, "--output"];
    arguments.push(path.to_str().expect("UTF-8"));
    arguments.extend(options);
    memtrace::run(arguments)
}

/// The threads of a snapshot.
#[track_caller]
fn threads(snapshot: &Value) -> &[Value] {
    snapshot["threads"].as_array().expect("threads")
}

/// The frames of a thread, outermost first.
#[track_caller]
fn frames(thread: &Value) -> &[Value] {
    thread["frames"].as_array().unwrap_or_else(|| panic!("no frames: {thread}"))
}

/// Frames of a thread that are Python's, innermost first: function, file name, line.
#[track_caller]
fn python_frames(thread: &Value) -> Vec<(String, String, u64)> {
    let frames = frames(thread).iter().rev().filter(|frame| frame["kind"] == "python");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    frames
        .map(|frame| {
            (text(&frame["name"]), text(&frame["file"]), frame["line"].as_u64().unwrap_or(0))
        })
        .collect()
}

/// Whether the thread's stack has a frame of that name.
#[track_caller]
fn is_within(thread: &Value, name: &str) -> bool {
    frames(thread).iter().any(|frame| frame["name"].as_str().is_some_and(|found| found == name))
}
