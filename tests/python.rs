//! Python programs with known answers, in every interpreter that stands on the machine.

/// Stacks that reach the thread's first frame.
mod complete;
/// Code that is made while the program runs.
mod generated;
/// Bytes per line.
mod lines;
/// Live bytes per line, compared with memray's.
mod memray;
/// Native frames, compared with gdb's.
pub mod native;
/// Python and native frames in the order of the calls.
mod order;
/// Code of sub-interpreters.
mod subinterpreters;
/// Interpreters that are read, and others.
mod supported;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use serde_json::Value;

use crate::support::{
    memtrace::Tracing,
    report::Report,
    workload::{self, Workload},
};

/// What memtrace saw of `lines.py` in one interpreter, and what there was to see.
struct Traced {
    python: PathBuf,
    report: Report,
    answers: Vec<Value>,
}

impl Traced {
    fn of(python: PathBuf, library: &Path) -> Self {
        let mut command = Command::new(&python);
        let mut workload = Workload::start(command.arg(workload::source("lines.py")).arg(library));
        let tracing = Tracing::attach(workload.pid());
        workload.go();
        let printed = workload.expect("done");
        let report = tracing.stop();
        let answers = printed.iter().filter_map(|line| line.strip_prefix("answer "));
        let answers = answers.map(|answer| serde_json::from_str(answer).expect("JSON")).collect();
        Self { python, report, answers }
    }
}

/// One for each interpreter; several tests look at them.
fn traced() -> &'static [Traced] {
    static ALL: LazyLock<Vec<Traced>> = LazyLock::new(|| {
        let library = foreign_library();
        workload::pythons().into_iter().map(|python| Traced::of(python, &library)).collect()
    });
    &ALL
}

/// C code that Python programs load.
fn foreign_library() -> PathBuf {
    workload::compile("foreign", &["-shared", "-fPIC"])
}

/// Fails with everything that was wrong in any of the interpreters.
fn assert_none_wrong(wrong: impl Iterator<Item = String>) {
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
