//! Threads that stand still are where Python's own `faulthandler` sees them; threads that run are
//! somewhere in what they run.

use std::{collections::HashMap, path::Path, process::Command};

use serde_json::Value;

use super::{is_within, python_frames, take, threads};
use crate::support::workload::{self, Workload};

/// Function, file and line, innermost first.
type Frames = Vec<(String, String, u64)>;

fn start(python: &Path, options: &[&str]) -> Workload {
    let mut command = Command::new(python);
    Workload::start(command.arg(workload::source("blocked.py")).args(options))
}

/// What `faulthandler` says, by the kernel's thread id.
fn faulthandler(workload: &mut Workload) -> HashMap<u64, Frames> {
    workload.go();
    let mut ids = HashMap::new();
    let mut frames: HashMap<u64, Frames> = HashMap::new();
    let mut current = 0;
    for line in workload.expect("done") {
        if let Some(thread) = line.strip_prefix("thread ") {
            let mut words = thread.split(' ').map(|word| word.parse().unwrap_or(0));
            ids.insert(words.next().expect("an identifier"), words.next().expect("an id"));
        } else if let Some((_, id)) = line.split_once("hread 0x") {
            let digits = id.split(' ').next().expect("a number");
            let ident = u64::from_str_radix(digits, 16).expect("hexadecimal");
            current = ids.get(&ident).copied().unwrap_or(0);
        } else if let Some(frame) = line.strip_prefix("  File \"") {
            let (file, rest) = frame.split_once("\", line ").expect("a line");
            let (number, name) = rest.split_once(" in ").expect("a name");
            let number = number.parse().expect("a number");
            frames.entry(current).or_default().push((name.to_owned(), file.to_owned(), number));
        }
    }
    frames
}

/// `faulthandler` gives names, not qualified ones.
fn unqualified(frames: Frames) -> Frames {
    let last = |name: String| name.rsplit('.').next().unwrap_or_default().to_owned();
    frames.into_iter().map(|(name, file, line)| (last(name), file, line)).collect()
}

#[test]
fn threads_that_wait_are_where_python_says() {
    for python in workload::pythons() {
        let mut workload = start(&python, &[]);
        let expected = faulthandler(&mut workload);
        let snapshot = take(workload.pid());
        let name = python.display();
        assert!(expected.len() >= 8, "{name}: {expected:?}");
        for thread in threads(&snapshot) {
            let id = thread["id"].as_u64().expect("an id");
            let Some(frames) = expected.get(&id) else { continue };
            assert_eq!(&unqualified(python_frames(thread)), frames, "{name}: {thread}");
            assert_eq!(thread["moment"], "waiting", "{name}");
            assert_eq!(thread["state"], "S", "{name}");
            assert_eq!(thread["is_python"], true, "{name}");
            assert_eq!(thread["holds_interpreter_lock"], false, "{name}: {thread}");
            assert!(thread["wait_channel"].is_string(), "{name}: {thread}");
            assert!(is_complete(thread), "{name}: {thread}");
        }
        let seen = threads(&snapshot).iter().filter_map(|thread| thread["id"].as_u64());
        assert_eq!(seen.filter(|id| expected.contains_key(id)).count(), expected.len() - 1);
    }
}

/// Whether the stack reaches the thread's first function without a gap.
fn is_complete(thread: &Value) -> bool {
    let frames = thread["frames"].as_array().expect("frames");
    frames.iter().all(|frame| frame["kind"] != "gap")
}

#[test]
fn threads_that_run_are_where_they_run() {
    for python in workload::pythons() {
        let workload = start(&python, &["running"]);
        let snapshot = take(workload.pid());
        let name = python.display();
        for function in ["spin", "multiply"] {
            let found = threads(&snapshot).iter().find(|thread| is_within(thread, function));
            let thread = found.unwrap_or_else(|| panic!("{name}: {function} in {snapshot}"));
            assert_ne!(thread["moment"], "moving", "{name}: {thread}");
            assert!(is_complete(thread), "{name}: {thread}");
        }
        let holders = threads(&snapshot).iter();
        let holders = holders.filter(|thread| thread["holds_interpreter_lock"] == true);
        assert!(holders.count() <= 1, "{name}");
    }
}

#[test]
fn native_frames_are_those_of_gdb() {
    for python in workload::pythons() {
        let workload = start(&python, &[]);
        let snapshot = take(workload.pid());
        let theirs = gdb(workload.pid());
        for thread in threads(&snapshot) {
            let id = thread["id"].as_u64().expect("an id");
            let frames = thread["frames"].as_array().expect("frames").iter().rev();
            let native = frames.filter(|frame| frame["kind"] == "native");
            let ours: Vec<&str> = native.filter_map(|frame| frame["name"].as_str()).collect();
            let theirs = &theirs[&id];
            // gdb names what has debug information, too, so memtrace's names are some of its own.
            let mut rest = theirs.iter();
            let lost = ours.iter().find(|name| !rest.any(|theirs| theirs == *name));
            assert_eq!(lost, None, "{}: {ours:?}\n{theirs:?}", python.display());
            let evaluators = theirs.iter().filter(|name| name.contains("EvalFrameDefault")).count();
            let all = thread["frames"].as_array().expect("frames");
            let count = all.iter().filter(|frame| frame["kind"] == "native").count();
            assert_eq!(
                count + evaluators,
                theirs.len(),
                "{}: {ours:?}\n{theirs:?}",
                python.display()
            );
        }
    }
}

/// Names of the frames of each thread as gdb sees them, innermost first.
fn gdb(pid: u32) -> HashMap<u64, Vec<String>> {
    let options =
        ["-nx", "-batch", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off"];
    let output = Command::new("gdb")
        .args(options)
        .args(["-p", &pid.to_string(), "-ex", "set backtrace past-main on"])
        .args([
            "-ex",
            "thread apply all backtrace -frame-arguments none -frame-info short-location",
        ])
        .output()
        .expect("gdb starts; cargo xtask setup installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut threads: HashMap<u64, Vec<String>> = HashMap::new();
    let mut current = 0;
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("(LWP ")
            && line.starts_with("Thread ")
        {
            let digits = rest.split(')').next().expect("an id");
            current = digits.parse().expect("a number");
        } else if line.starts_with('#') {
            let name = line.split_whitespace().nth(1).expect("a name");
            threads.entry(current).or_default().push(name.to_owned());
        }
    }
    threads
}
