//! Libraries that are loaded while the process is traced.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::{
    memtrace::{Tracing, run},
    report::{Report, Stack},
    workload::{Workload, compile},
};

#[test]
fn a_library_that_is_loaded_later_is_accounted_and_its_stacks_are_whole() {
    let plugin = compile("plugin", &["-shared", "-fPIC"]);
    let mut loader = Workload::start(Command::new(compile("loader", &["-ldl"])).arg(plugin));
    let mut tracing = Tracing::attach(loader.pid());
    loader.work();
    tracing.expect("memtrace: other libraries in process");
    loader.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    check_functions(&report);
    // By then the library was known.
    let stacks = report.stacks();
    let stack = stacks.iter().find(|stack| stack.names().any(|name| name == "loader_calls"));
    assert!(!stack.expect("checked before").has_gap());
}

#[test]
fn a_library_of_a_command_is_known_before_it_runs() {
    let folder = tempfile::tempdir().expect("a folder for the report");
    let file = folder.path().join("report.json");
    let plugin = compile("plugin", &["-shared", "-fPIC"]);
    let loader = compile("loader", &["-ldl"]);
    let options = ["--quiet".as_ref(), "--output".as_ref(), file.as_os_str(), "--".as_ref()];
    let command = [loader.as_os_str(), plugin.as_os_str(), "alone".as_ref()];
    let output = run(options.into_iter().chain(command));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = Report::read(&file);
    report.assert_nothing_lost();
    check_functions(&report);
    assert_eq!(report.within("allocated", "plugin_constructor_allocates"), (8003, 2));
    // The linker itself touches pages before anything is known of the libraries; before glibc 2.35 by a
    // `malloc` of its own.
    let stacks = report.stacks();
    let mut blocks =
        stacks.iter().filter(|stack| stack.frames.iter().any(|frame| is_malloc(frame)));
    assert!(blocks.all(|stack| !stack.has_gap()));
}

/// memtrace is stopped meanwhile, so that it cannot know the second one when it is used.
#[test]
fn a_library_that_comes_where_another_one_was_is_not_taken_for_it() {
    let library = |name: &str, frame: &str| {
        let (keep, frame) = (format!("-DKEEP={name}"), format!("-DFRAME={frame}"));
        compile("replaced", &["-shared", "-fPIC", &keep, &frame])
    };
    let libraries = [library("first_keeps", "40"), library("second_keeps", "800")];
    let mut workload =
        Workload::start(Command::new(compile("replacing", &["-ldl"])).args(libraries));
    let mut tracing = Tracing::attach(workload.pid());
    workload.work();
    tracing.expect("memtrace: other libraries in process");
    workload.work();
    tracing.signal(libc::SIGSTOP);
    workload.work();
    tracing.signal(libc::SIGCONT);
    tracing.expect("memtrace: other libraries in process");
    workload.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    assert_eq!(report.within("allocated", "first_keeps"), (1_300_000, 100));
    let stacks = report.stacks();
    let of_second = stacks.iter().filter(|stack| {
        let (bytes, objects) = stack.amount("allocated");
        objects > 0 && bytes == objects * 15_000
    });
    let (unknown, known): (Vec<_>, Vec<_>) = of_second.partition(|stack| stack.has_gap());
    let sum = |of: &[&Stack<'_>]| of.iter().map(|stack| stack.amount("allocated").1).sum::<u64>();
    assert_eq!((sum(&unknown), sum(&known)), (100, 100), "unknown, known");
    assert!(known.iter().all(|stack| stack.names().any(|name| name == "second_keeps")));
}

#[test]
fn a_library_that_is_overwritten_between_two_loads_is_another_one() {
    let folder = tempfile::tempdir().expect("a folder for the library");
    let file = folder.path().join("content.so");
    let overwrite = |content| fs::copy(content, &file).expect("it can be written");
    overwrite(content("first_allocates", 64, 6001));
    let program = compile("overwritten", &["-ldl"]);
    let mut workload = Workload::start(Command::new(program).arg(&file));
    let mut tracing = Tracing::attach(workload.pid());
    let mut load_use_and_unload = || {
        for _ in 0..2 {
            workload.work();
            tracing.expect("memtrace: other libraries in process");
        }
    };
    load_use_and_unload();
    overwrite(content("second_allocates", 4096, 7001));
    load_use_and_unload();
    let report = tracing.stop();
    report.assert_nothing_lost();
    // What the file was first is not there any more to tell its functions; the rest of the stack is.
    let callers = check_content(&report, 6001, "content.so (overwritten 1)", &["", ""]);
    let named = ["content_allocates", "second_allocates"];
    assert_eq!(check_content(&report, 7001, "content.so", &named), callers);
    let notes = report.0["notes"].to_string();
    assert_eq!(notes.matches("content.so was overwritten").count(), 1, "{notes}");
}

/// A library.
fn content(function: &str, frame: u32, size: u32) -> PathBuf {
    let defined = [format!("CONTENT={function}"), format!("FRAME={frame}"), format!("SIZE={size}")];
    let defined = defined.map(|definition| format!("-D{definition}"));
    let flags = ["-shared", "-fPIC"].into_iter().chain(defined.iter().map(String::as_str));
    compile("content", &flags.collect::<Vec<_>>())
}

/// The callers of the library's functions, which are called this in the one stack of a block.
fn check_content(report: &Report, bytes: u64, file: &str, functions: &[&str]) -> Vec<String> {
    let stacks = report.stacks();
    let stack = stacks.iter().find(|stack| stack.amount("live") == (bytes, 1));
    let stack = stack.expect("a stack of its own");
    assert!(!stack.has_gap(), "{:?}", stack.frames);
    let is_content =
        |frame: &&Value| frame["module"].as_str().is_some_and(|module| module.ends_with(file));
    let content = stack.frames.iter().copied().filter(is_content);
    let names: Vec<_> = content.map(|frame| frame["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, functions);
    let callers = stack.names().take_while(|name| *name != "overwritten_calls");
    let callers: Vec<_> = callers.map(str::to_owned).collect();
    assert_eq!(callers.len() + 4, stack.frames.len(), "caller, two of the library, malloc");
    callers
}

/// Whether it is the C library's.
fn is_malloc(frame: &Value) -> bool {
    frame["name"] == "malloc" && frame["module"].as_str().is_some_and(|file| file.contains("/libc"))
}

fn check_functions(report: &Report) {
    assert_eq!(report.within_all("plugin_allocates"), [(5003, 1); 3]);
    assert_eq!(report.within_all("loader_calls"), [(5003, 1); 3]);
    let stacks = report.stacks();
    // In an attached process the constructor may run before the library is known: then its frames
    // have no names, but its bytes are there. One block goes when the library is unloaded.
    let of = |size| stacks.iter().find(|stack| stack.amount("allocated") == (size, 1));
    assert_eq!(of(4001).expect("of the constructor").amount("live"), (4001, 1));
    assert_eq!(of(4002).expect("of the constructor").amount("live"), (0, 0));
}
