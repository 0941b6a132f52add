//! A JSON report, read by its documented schema only.

use std::{fs, path::Path};

use memtrace_abi::loss::Loss;
use serde_json::Value;

use super::observe::kernel_version;

/// The views of a profile.
pub const VIEWS: [&str; 3] = ["live", "peak", "allocated"];

/// A report.
pub struct Report(pub Value);

/// A stack of a report.
pub struct Stack<'report> {
    /// Frames as JSON objects, outermost first.
    pub frames: Vec<&'report Value>,
    amounts: &'report Value,
}

impl Report {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let text = fs::read(path).expect("memtrace wrote a report");
        Self(serde_json::from_slice(&text).expect("the report is JSON"))
    }

    /// Every stack.
    pub fn stacks(&self) -> Vec<Stack<'_>> {
        let frames = self.0["frames"].as_array().expect("frames");
        let stacks = self.0["stacks"].as_array().expect("stacks").iter();
        let frame = |index: &Value| &frames[index.as_u64().expect("an index") as usize];
        stacks
            .map(|stack| Stack {
                frames: stack["frames"].as_array().expect("frames").iter().map(frame).collect(),
                amounts: &stack["amounts"],
            })
            .collect()
    }

    /// Bytes and objects of all stacks with a function of this name.
    pub fn within(&self, view: &str, function: &str) -> (u64, u64) {
        let stacks = self.stacks();
        let matching = stacks.iter().filter(|stack| stack.names().any(|name| name == function));
        matching.map(|stack| stack.amount(view)).fold((0, 0), add)
    }

    /// As [`Report::within`], for the views `live`, `peak` and `allocated`.
    pub fn within_all(&self, function: &str) -> [(u64, u64); 3] {
        VIEWS.map(|view| self.within(view, function))
    }

    /// Bytes and objects of everything.
    pub fn total(&self, view: &str) -> (u64, u64) {
        self.stacks().iter().map(|stack| stack.amount(view)).fold((0, 0), add)
    }

    /// Bytes and objects in the stacks of a process.
    fn total_of(&self, process: usize, view: &str) -> (u64, u64) {
        let stacks = self.0["stacks"].as_array().expect("stacks").iter();
        let own = stacks.filter(|stack| stack["process"] == process);
        own.map(|stack| amount(&stack["amounts"][view])).fold((0, 0), add)
    }

    /// What the first process counted, without regard to stacks.
    pub fn counted(&self, view: &str) -> (u64, u64) {
        amount(&self.0["processes"][0]["amounts"][view])
    }

    /// A counter of the first process.
    pub fn calls(&self, counter: &str) -> u64 {
        self.0["processes"][0]["calls"][counter].as_u64().expect("a counter")
    }

    /// Fails unless everything was recorded and the stacks add up to what the process counted.
    pub fn assert_nothing_lost(&self) {
        assert_eq!(self.losses(), Vec::<String>::new());
        let processes = self.0["processes"].as_array().expect("processes");
        for (index, process) in processes.iter().enumerate() {
            for view in VIEWS {
                let counted = amount(&process["amounts"][view]);
                assert_eq!(self.total_of(index, view), counted, "process {index}: {view}");
            }
        }
    }

    /// The losses as text; empty if nothing was lost that memtrace could have recorded.
    pub fn losses(&self) -> Vec<String> {
        let losses = self.0["losses"].as_array().expect("losses").iter();
        losses.filter(|loss| !is_the_kernels(loss)).map(ToString::to_string).collect()
    }
}

impl<'report> Stack<'report> {
    /// Names of the frames, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &'report str> {
        self.frames.iter().map(|frame| frame["name"].as_str().unwrap_or_default())
    }

    /// Bytes and objects.
    pub fn amount(&self, view: &str) -> (u64, u64) {
        amount(&self.amounts[view])
    }

    /// Whether frames are missing.
    pub fn has_gap(&self) -> bool {
        self.frames.iter().any(|frame| frame["kind"] == "gap")
    }
}

/// Whether the kernel has kept something from memtrace, which can but say so: since Linux 7.0 a program
/// at a tracepoint can be preempted, and until it goes on, none runs at that tracepoint on that processor.
fn is_the_kernels(loss: &Value) -> bool {
    let (_, what) = Loss::ProgramSkipped.what();
    loss["what"].as_str().expect("words").ends_with(what) && kernel_version() >= [7, 0]
}

fn amount(value: &Value) -> (u64, u64) {
    let number = |name: &str| value[name].as_u64().expect("an amount");
    (number("bytes"), number("objects"))
}

fn add(sum: (u64, u64), other: (u64, u64)) -> (u64, u64) {
    (sum.0 + other.0, sum.1 + other.1)
}
