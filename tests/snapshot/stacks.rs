//! Threads that stand still are where Python's own `faulthandler` sees them; threads that run are
//! somewhere in what they run.

use std::{collections::HashMap, path::Path, process::Command};

use serde_json::Value;

use super::{frames, is_within, python_frames, take, threads};
use crate::{
    python::native::{Frame, Maps, Place, frame, is_interpreter},
    support::workload::{self, Workload},
};

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
    frames(thread).iter().all(|frame| frame["kind"] != "gap")
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
            // OpenBLAS has frames larger than what is copied.
            let is_sure = thread["moment"] != "moving" || function == "multiply";
            assert!(is_sure, "{name}: {thread}");
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
        let (theirs, maps) = (gdb(workload.pid()), Maps::of(workload.pid()));
        assert!(theirs.len() > 8, "{}: {theirs:?}", python.display());
        for thread in threads(&snapshot) {
            let theirs = &theirs[&thread["id"].as_u64().expect("an id")];
            let theirs: Vec<Place> = theirs.iter().map(|pc| maps.place(*pc)).collect();
            let mut ours: Vec<_> = frames(thread).iter().rev().map(frame).collect();
            ours.dedup_by(|frame, before| *frame == Frame::Python && *before == Frame::Python);
            assert!(agree(&ours, &theirs), "{}: {ours:x?}\ngdb: {theirs:x?}", python.display());
        }
    }
}

/// Whether the stacks are the same. Where the compiler has put a part of the interpreter loop elsewhere,
/// gdb does not know its name, and has a frame where there are Python frames.
fn agree(ours: &[Frame], theirs: &[Place]) -> bool {
    let (Some((our, ours)), [their, rest @ ..]) = (ours.split_first(), theirs) else {
        return theirs.is_empty() && ours.iter().all(|our| *our == Frame::Python);
    };
    match our {
        Frame::Native(place) => place == their && agree(ours, rest),
        Frame::Python => agree(ours, theirs) || is_interpreter(&their.0) && agree(ours, rest),
        Frame::Gap => false,
    }
}

/// The addresses of each thread's frames as gdb sees them, innermost first, without those of the
/// interpreter loop, for which Python frames stand. Callers are at the byte before the return address.
const FRAMES: &str = "
import gdb
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame, callee, found = gdb.newest_frame(), None, []
    while frame is not None:
        if frame.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
            if 'EvalFrameDefault' not in (frame.name() or ''):
                found.append(frame.pc() - (callee is not None))
            callee = frame
        frame = frame.older()
    print('frames', thread.ptid[1], *found)
";

fn gdb(pid: u32) -> HashMap<u64, Vec<u64>> {
    let script = tempfile::Builder::new().suffix(".py").tempfile().expect("a file");
    std::fs::write(script.path(), FRAMES).expect("it can be written");
    let output = Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set auto-load off", "-iex", "set debuginfod enabled off"])
        .args(["-iex", "set backtrace past-main on", "-iex", "set backtrace past-entry on"])
        .args(["-p", &pid.to_string(), "-x"])
        .arg(script.path())
        .output()
        .expect("gdb starts; cargo xtask setup installs it");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter_map(|line| line.strip_prefix("frames "));
    let numbers = lines.map(|line| line.split(' ').map(|word| word.parse().expect("a number")));
    numbers.map(|mut numbers| (numbers.next().expect("an id"), numbers.collect())).collect()
}
