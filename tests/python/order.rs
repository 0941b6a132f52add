//! Python calls C calls Python: every frame stands in the order of the calls.

use serde_json::Value;

use super::Traced;
use crate::support::report::Stack;

/// What is allocated at the end of each chain of calls.
const BYTES: u64 = 7_000_003;

/// Python functions and the modules of native code, from the outermost on, without the
/// interpreter's own functions: how many of those there are differs between versions.
const CHAINS: [(&str, &str); 3] = [
    (
        "plain",
        "libc <module> main work interleaved plain outer _ctypes libffi foreign libffi _ctypes ",
    ),
    ("visit_for_caller", "libc foreign libffi _ctypes "),
    ("in_tasks", "_asyncio waits wakes _ctypes libffi _ctypes "),
];
/// How all chains go on.
const END: &str = "visit _multiarray_umath element key_of produce combine Item.__add__ \
                   _multiarray_umath libc";

/// Python functions that call one another by way of the interpreter's C functions.
const BY_WAY_OF_C: [[&str; 2]; 4] = [
    ["element", "key_of"],
    ["key_of", "produce"],
    ["produce", "combine"],
    ["combine", "Item.__add__"],
];
/// Python functions that call one another directly: from 3.11 on, one run of the interpreter loop
/// executes them all.
const DIRECT: [[&str; 2]; 4] =
    [["<module>", "main"], ["main", "work"], ["work", "interleaved"], ["plain", "outer"]];

#[test]
fn frames_stand_in_the_order_of_the_calls() {
    super::assert_none_wrong(super::traced().iter().flat_map(|traced| {
        let chains = CHAINS.iter().filter_map(|(of, start)| wrong(traced, of, start));
        chains.map(|wrong| format!("{}: {wrong}", traced.python.display()))
    }));
}

/// What is wrong with the chain of calls that goes through a function.
fn wrong(traced: &Traced, function: &str, start: &str) -> Option<String> {
    let stacks = traced.report.stacks();
    let is_chain = |stack: &&Stack<'_>| {
        stack.amount("live") == (BYTES, 1) && stack.names().any(|name| name == function)
    };
    let chains: Vec<_> = stacks.iter().filter(is_chain).collect();
    let [chain] = chains.as_slice() else {
        return Some(format!("{} stacks through {function}", chains.len()));
    };
    let minor = minor(traced);
    let found = landmarks(chain).join(" ");
    // Code objects did not know their qualified name.
    let end = if minor < 11 { END.replace("Item.", "") } else { END.to_owned() };
    if !found.ends_with(&format!("{start}{end}"))
        || (start.starts_with("libc") && found.len() != start.len() + end.len())
    {
        return Some(format!("{function}: {found}"));
    }
    let inlined = DIRECT.iter().any(|pair| are_neighbours(chain, pair) != Some(minor >= 11));
    let adjacent = BY_WAY_OF_C.iter().any(|pair| are_neighbours(chain, pair) == Some(true));
    (adjacent || (function == "plain" && inlined))
        .then(|| format!("{function}: {inlined} {adjacent}"))
}

fn minor(traced: &Traced) -> u32 {
    let version = traced.report.0["processes"][0]["python"].as_str().unwrap_or_default();
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).expect("a version")
}

/// Names of Python functions, and of modules where native code of several frames is one.
fn landmarks(stack: &Stack<'_>) -> Vec<String> {
    let mut found: Vec<String> = stack.frames.iter().map(|frame| landmark(frame)).collect();
    found.retain(|name| !name.is_empty());
    found.dedup();
    found
}

/// Empty for the interpreter itself.
fn landmark(frame: &Value) -> String {
    let Some(module) = frame["module"].as_str() else {
        return frame["name"].as_str().unwrap_or("?").to_owned();
    };
    let file = module.rsplit('/').next().unwrap_or_default();
    match file.split(['.', '-']).next().unwrap_or_default() {
        // Up to glibc 2.33 threads begin in a library of their own.
        "libpthread" => "libc".to_owned(),
        name if name.contains("python") => String::new(),
        name => name.to_owned(),
    }
}

/// Whether two Python functions are neighbours; `None` if they do not both occur.
fn are_neighbours(stack: &Stack<'_>, pair: &[&str; 2]) -> Option<bool> {
    let simple = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let names: Vec<_> = stack.names().map(simple).collect();
    let [first, second] = pair.map(|name| names.iter().position(|it| *it == simple(name)));
    Some(first? + 1 == second?)
}
