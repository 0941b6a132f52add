//! Stacks without a gap, from the allocator to the thread's first frame.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
};

use object::{Object as _, ObjectSegment as _};
use serde_json::Value;

use crate::support::{
    memtrace::Tracing,
    report::{Report, Stack},
    workload::{self, Workload},
};

/// What follows the call of `main` in `_start`: `hlt`.
const BEHIND_MAIN: &[u8] = &[0xf4];
/// What follows the call of a thread's function in the C library: `exit(result)`.
const BEHIND_THREAD: &[u8] = &[0x48, 0x89, 0xc7, 0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05];

#[test]
fn stacks_reach_the_first_frame() {
    let library = super::foreign_library();
    let mut wrong = Vec::new();
    for python in workload::pythons() {
        let report = trace(&python, &library);
        let (late, stacks): (Vec<_>, Vec<_>) = report
            .stacks()
            .into_iter()
            .partition(|stack| stack.names().any(|it| it == "loaded_late"));
        let (share, gaps) = complete(&stacks);
        let (late_share, _) = complete(&late);
        let name = python.display();
        println!("{name}: {} stacks, {:.3} % complete, {gaps:?}", stacks.len(), share * 100.0);
        println!("{name}: through a library loaded while tracing: {:.3} %", late_share * 100.0);
        if stacks.len() < 1000 || share < 0.995 || late_share < 0.75 || !report.losses().is_empty()
        {
            wrong.push(format!("{name}: {share} {late_share} {gaps:?} {:?}", report.losses()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn trace(python: &Path, library: &Path) -> Report {
    let mut command = Command::new(python);
    let mut workload = Workload::start(command.arg(workload::source("many.py")).arg(library));
    let tracing = Tracing::attach(workload.pid());
    workload.work();
    tracing.stop()
}

/// Share of objects whose stack is complete, and how many are not, by what is wrong.
fn complete(stacks: &[Stack<'_>]) -> (f64, BTreeMap<String, u64>) {
    let mut files = Files::default();
    let (mut all, mut wrong) = (0, BTreeMap::new());
    for stack in stacks {
        let objects = stack.amount("allocated").1;
        all += objects;
        if let Some(reason) = incomplete(stack, &mut files) {
            *wrong.entry(reason).or_default() += objects;
        }
    }
    (1.0 - wrong.values().sum::<u64>() as f64 / all as f64, wrong)
}

fn incomplete(stack: &Stack<'_>, files: &mut Files) -> Option<String> {
    if let Some(gap) = stack.frames.iter().find(|frame| frame["kind"] == "gap") {
        return Some(gap["name"].as_str().unwrap_or_default().to_owned());
    }
    let outermost = stack.frames[0];
    (!files.is_first(outermost)).then(|| format!("begins with {outermost}"))
}

/// Contents of the files that frames are in.
#[derive(Default)]
struct Files(HashMap<String, Vec<u8>>);

impl Files {
    /// Whether a frame is the first one of a thread, by the code behind its call: stripped
    /// libraries do not name the function.
    fn is_first(&mut self, frame: &Value) -> bool {
        let (Some(module), Some(address)) = (frame["module"].as_str(), frame["address"].as_u64())
        else {
            return false;
        };
        let read = || fs::read(module).unwrap_or_default();
        let bytes = self.0.entry(module.to_owned()).or_insert_with(read);
        let file = object::File::parse(&**bytes).expect("a library");
        // The address of a caller is that of the call's last byte.
        let behind = |code: &&[u8]| {
            let mut segments = file.segments();
            segments.any(|it| it.data_range(address + 1, code.len() as u64) == Ok(Some(code)))
        };
        [BEHIND_MAIN, BEHIND_THREAD].iter().any(behind)
    }
}
