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

use crate::support::{memtrace, report::Report};

/// Takes a snapshot and reads it as JSON.
#[track_caller]
fn take(pid: u32) -> Value {
    take_with(pid, &[])
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

/// Frames of a thread that are Python's, innermost first: function, file name, line.
fn python_frames(thread: &Value) -> Vec<(String, String, u64)> {
    let frames = thread["frames"].as_array().expect("frames").iter().rev();
    let frames = frames.filter(|frame| frame["kind"] == "python");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    frames
        .map(|frame| {
            (text(&frame["name"]), text(&frame["file"]), frame["line"].as_u64().unwrap_or(0))
        })
        .collect()
}

/// Whether the thread's stack has a frame of that name.
fn is_within(thread: &Value, name: &str) -> bool {
    let frames = thread["frames"].as_array().expect("frames");
    frames.iter().any(|frame| frame["name"].as_str().is_some_and(|found| found == name))
}
