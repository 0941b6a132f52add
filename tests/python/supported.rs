//! Which interpreters are read and which are refused, each by its own name, and never by a guess.

use std::{collections::BTreeSet, path::Path, process::Command};

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{self, Workload},
};

const PROGRAM: &str = "\
import sys
print('ready', flush=True)
sys.stdin.readline()
def grab(): return bytearray(10_000_000)
block = grab()
print('done', flush=True)
sys.stdin.readline()";

#[test]
fn an_interpreter_is_read_or_refused_by_name() {
    let read = workload::pythons().into_iter().map(|python| (python, true));
    let refused = workload::unsupported_pythons().into_iter().map(|python| (python, false));
    super::assert_none_wrong(read.chain(refused).filter_map(|(python, is_supported)| {
        let report = trace(&python);
        let wrong = if is_supported { wrongly_read(&report) } else { wrongly_refused(&report) };
        wrong.map(|wrong| format!("{}: {wrong}", python.display()))
    }));
}

fn trace(python: &Path) -> Report {
    let mut program = Workload::start(Command::new(python).args(["-c", PROGRAM]));
    let tracing = Tracing::attach(program.pid());
    program.work();
    tracing.stop()
}

fn wrongly_read(report: &Report) -> Option<String> {
    let version = &report.0["processes"][0]["python"];
    let (bytes, _) = report.within("live", "grab");
    let is_right = version.is_string() && bytes >= 10_000_000 && notes(report).is_empty();
    (!is_right).then(|| format!("{version}: {bytes} bytes, {:?}", notes(report)))
}

/// The reason is told once, every byte is there, and in native frames.
fn wrongly_refused(report: &Report) -> Option<String> {
    let version = &report.0["processes"][0]["python"];
    let (bytes, _) = report.total("live");
    let stacks = report.stacks();
    let frames = stacks.iter().flat_map(|stack| &stack.frames);
    let kinds: BTreeSet<_> = frames.filter_map(|frame| frame["kind"].as_str()).collect();
    let is_right = version.is_null()
        && bytes >= 10_000_000
        && kinds.contains("native")
        // A page that was touched begins with where its memory is from.
        && kinds.is_subset(&BTreeSet::from(["native", "origin"]))
        && is_reason(&notes(report));
    (!is_right).then(|| format!("{version}: {bytes} bytes in {kinds:?}, {:?}", notes(report)))
}

fn is_reason(notes: &[&str]) -> bool {
    let [note] = notes else { return false };
    ["is not supported", "free-threaded", "pre-release"].iter().any(|part| note.contains(part))
}

fn notes(report: &Report) -> Vec<&str> {
    let notes = report.0["notes"].as_array().expect("notes").iter();
    notes.filter_map(|note| note.as_str()).filter(|note| note.contains("Python")).collect()
}
