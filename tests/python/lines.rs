//! What each line of a NumPy program keeps alive, to 0.1 %.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use crate::support::report::{Report, Stack};

/// Bytes of a line, and the functions that it is in.
#[derive(Default)]
pub(super) struct Line {
    pub(super) live: u64,
    allocated: u64,
    functions: BTreeSet<String>,
}

#[test]
fn every_line_has_its_bytes() {
    super::assert_none_wrong(super::traced().iter().flat_map(|traced| {
        let python = traced.python.display();
        let wrong = check(&traced.report, &traced.answers);
        wrong.into_iter().map(move |message| format!("{python}: {message}"))
    }));
}

fn check(report: &Report, answers: &[Value]) -> Vec<String> {
    let lines = lines(report);
    assert!(answers.len() > 60, "{} answers", answers.len());
    let mut wrong: Vec<_> = answers.iter().filter_map(|answer| differs(answer, &lines)).collect();
    wrong.extend(report.losses());
    wrong.extend(without_python_state(report));
    wrong.extend(recursion(report));
    wrong
}

/// By file and line of the innermost Python frame that is not NumPy's own.
pub(super) fn lines(report: &Report) -> HashMap<(&str, Option<u64>), Line> {
    let mut lines: HashMap<_, Line> = HashMap::new();
    for stack in report.stacks() {
        let mut frames = stack.frames.iter().rev().filter(|frame| frame["kind"] == "python");
        let Some(frame) = frames.find(|frame| !is_numpy(file(frame))) else { continue };
        let line = lines.entry((file(frame), frame["line"].as_u64())).or_default();
        line.live += stack.amount("live").0;
        line.allocated += stack.amount("allocated").0;
        line.functions.insert(frame["name"].as_str().unwrap_or_default().to_owned());
    }
    lines
}

/// NumPy below 1.25 generated a function for each of its own.
fn is_numpy(file: &str) -> bool {
    file.contains("/numpy/") || file == "<__array_function__ internals>"
}

fn file(frame: &Value) -> &str {
    frame["file"].as_str().unwrap_or_default()
}

/// What is wrong with the line that an answer is about.
fn differs(answer: &Value, lines: &HashMap<(&str, Option<u64>), Line>) -> Option<String> {
    let Some(line) = lines.get(&(file(answer), answer["line"].as_u64())) else {
        return Some(format!("{answer}: no such line"));
    };
    let (live, allocated) = (answer["live"].as_u64().expect("bytes"), answer["allocated"].as_u64());
    let tolerance = live.max(allocated.unwrap_or_default()) / 1000;
    let in_function = answer["function"]
        .as_str()
        .is_none_or(|function| line.functions.iter().map(String::as_str).eq([function]));
    let right = line.live.abs_diff(live) <= tolerance
        && allocated.is_none_or(|allocated| line.allocated.abs_diff(allocated) <= tolerance)
        && in_function;
    let Line { live, allocated, functions } = line;
    (!right).then(|| format!("{answer}: live {live}, allocated {allocated}, in {functions:?}"))
}

/// A thread that C code started, and that never ran Python.
fn without_python_state(report: &Report) -> Option<String> {
    let stacks = report.stacks();
    let (inside, outside): (Vec<_>, Vec<_>) =
        stacks.iter().partition(|stack| stack.names().any(|name| name == "take_for_caller"));
    let bytes: u64 = inside.iter().map(|stack| stack.amount("live").0).sum();
    // A page that was touched begins with where its memory is from.
    let is_native = |frame: &&Value| frame["kind"] == "native" || frame["kind"] == "origin";
    let native = inside.iter().all(|stack| stack.frames.iter().all(is_native));
    assert!(!outside.is_empty());
    (bytes != 8_000_089 || !native).then(|| format!("a thread of C code: {bytes} {native}"))
}

/// 101 calls of the same function are 101 frames.
fn recursion(report: &Report) -> Option<String> {
    let depth = |stack: &Stack<'_>| stack.names().filter(|name| *name == "deep").count();
    let stacks = report.stacks();
    let deepest = stacks.iter().max_by_key(|stack| depth(stack))?;
    let gap = deepest.has_gap();
    (depth(deepest) != 101 || gap).then(|| format!("recursion: {} {gap}", depth(deepest)))
}
