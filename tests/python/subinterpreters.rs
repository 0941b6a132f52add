//! Memory of sub-interpreters is at the lines of their code, that of the main one at its own.

use std::{path::Path, process::Command};

use crate::support::{
    memtrace::Tracing,
    report::{Report, Stack},
    workload::{self, Workload},
};

/// Three blocks, with the header of a `bytes`.
const OF_SUB: u64 = 3 * (700_001 + 33);
const OF_MAIN: u64 = 3 * (900_001 + 33);

/// What Python calls the source of a string that a sub-interpreter runs: up to 3.13, and from then on.
const STRING: [&str; 2] = ["<string>", "<script>"];

#[test]
fn each_interpreter_has_its_own_lines() {
    wrong_in_any(&[]);
}

#[test]
fn an_interpreter_that_another_thread_made_has_its_own_lines() {
    wrong_in_any(&["thread"]);
}

fn wrong_in_any(options: &[&str]) {
    super::assert_none_wrong(workload::pythons().iter().flat_map(|python| {
        let name = python.display();
        let report = trace(python, options);
        let wrong = report.iter().flat_map(wrong).collect::<Vec<_>>();
        wrong.into_iter().map(|wrong| format!("{name}: {wrong}")).collect::<Vec<_>>()
    }));
}

/// `None` for an interpreter that is built without the module.
fn trace(python: &Path, options: &[&str]) -> Option<Report> {
    let mut command = Command::new(python);
    command.arg(workload::source("subinterpreters.py")).args(options);
    let (mut program, said) = Workload::start_and_read(&mut command);
    if !said.is_empty() {
        return None;
    }
    let tracing = Tracing::attach(program.pid());
    program.work();
    Some(tracing.stop())
}

fn wrong(report: &Report) -> Vec<String> {
    let mut sub = [vec![("deep", 5)], vec![("deep", 4); 5], vec![("<module>", 1)]].concat();
    if reaches_the_main_one(report) {
        sub.push(("work", 37));
    }
    let main = [vec![("deep", 32)], vec![("deep", 31); 5], vec![("work", 38)]].concat();
    let mut wrong = report.losses();
    wrong.extend(differs(report, OF_SUB, &STRING, &sub));
    wrong.extend(differs(report, OF_MAIN, &["subinterpreters.py"], &main));
    wrong
}

/// Whether the stack goes on with who entered the sub-interpreter: up to 3.11 its thread state is known.
fn reaches_the_main_one(report: &Report) -> bool {
    let version = report.0["processes"][0]["python"].as_str().expect("a version");
    let minor: u32 = version.split('.').nth(1).expect("a minor").parse().expect("a number");
    minor <= 11
}

/// Where the blocks should be, innermost first, and are not.
fn differs(report: &Report, bytes: u64, files: &[&str], lines: &[(&str, u64)]) -> Option<String> {
    let is_right = |stack: &Stack<'_>| {
        let frames = stack.frames.iter().rev().filter(|frame| frame["kind"] == "python");
        let expected = lines.iter();
        let found = frames.take(lines.len()).zip(expected).filter(|(frame, (name, line))| {
            let path = frame["file"].as_str().unwrap_or_default();
            let in_file = *name == "work" || files.iter().any(|file| path.ends_with(file));
            frame["name"] == *name && frame["line"] == *line && in_file
        });
        found.count() == lines.len()
    };
    let stacks = report.stacks();
    let live: u64 = stacks.iter().filter(|it| is_right(it)).map(|it| it.amount("live").0).sum();
    (live != bytes).then(|| format!("{live} instead of {bytes} bytes at {files:?} {:?}", lines[0]))
}
