//! The levels of memtrace, and its peers: how each is started, as data.

use std::{ffi::OsString, path::Path, process::Command};

use crate::Arguments;

/// A way to look at a workload.
pub struct Tool {
    pub name: String,
    pub way: Way,
    /// Why it cannot be measured here.
    pub missing: Option<String>,
}

/// How a tool and a workload come together.
#[derive(Clone, Copy)]
pub enum Way {
    /// Not at all: what two equal runs differ by.
    Alone,
    /// memtrace attaches to the running workload, with these options.
    Memtrace(&'static [&'static str]),
    /// bpftrace attaches to the running workload.
    Bpftrace,
    /// The tool starts the workload.
    Start(Starter),
}

/// Programs that start a workload.
#[derive(Clone, Copy)]
pub enum Starter {
    Memray(&'static [&'static str]),
    Heaptrack,
    Tracemalloc,
}

/// What memtrace does by default comes first: it is what all others are compared with.
const LEVELS: [(&str, &[&str]); 3] = [
    ("memtrace --detail rss", &["--detail", "rss"]),
    ("memtrace (full)", &[]),
    ("memtrace --sample 512KiB", &["--sample", "512KiB"]),
];
const MEMRAY: [(&str, &[&str]); 3] = [
    ("memray", &[]),
    ("memray --native", &["--native"]),
    ("memray --native --aggregate", &["--native", "--aggregate"]),
];

const NONE: &str = "none";

/// The tools that are asked for, those included that cannot be had here.
pub fn wanted(arguments: &Arguments) -> Vec<Tool> {
    let mut tools = all(arguments);
    if let Some(only) = &arguments.only {
        tools.retain(|tool| tool.name == NONE || tool.name.contains(only));
    }
    tools
}

fn all(arguments: &Arguments) -> Vec<Tool> {
    let mut tools = vec![Tool { name: NONE.into(), way: Way::Alone, missing: None }];
    tools.extend(LEVELS.map(|(name, options)| Tool {
        name: name.into(),
        way: Way::Memtrace(options),
        missing: None,
    }));
    let python = arguments.best_python();
    let memray = version(Command::new(python).args(["-m", "memray", "--version"]));
    tools.extend(MEMRAY.map(|(name, options)| {
        peer(name, Way::Start(Starter::Memray(options)), memray.as_deref())
    }));
    let heaptrack = version(Command::new("heaptrack").arg("--version"));
    tools.push(peer("heaptrack", Way::Start(Starter::Heaptrack), heaptrack.as_deref()));
    let tracemalloc = version(Command::new(python).arg("--version"));
    tools.push(peer("tracemalloc", Way::Start(Starter::Tracemalloc), tracemalloc.as_deref()));
    let bpftrace = version(Command::new("bpftrace").arg("--version"));
    tools.push(peer("bpftrace, as memleak", Way::Bpftrace, bpftrace.as_deref()));
    tools
}

fn peer(name: &str, way: Way, version: Option<&str>) -> Tool {
    let missing = version.is_none().then(|| "not installed".to_owned());
    let version = version.map_or_else(String::new, |version| format!(" ({version})"));
    Tool { name: format!("{name}{version}"), way, missing }
}

/// The first word of a program's answer that is a version; `None` if it cannot be run.
fn version(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_version =
        |word: &&str| word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    Some(text.split_whitespace().find(is_version)?.trim_start_matches('v').to_owned())
}

impl Starter {
    /// Starts a Python script with arguments; what the tool records goes to `output`.
    pub fn command(self, python: &Path, script: &[OsString], output: &Path) -> Command {
        let mut command;
        match self {
            Self::Memray(options) => {
                command = Command::new(python);
                command.args(["-m", "memray", "run", "--quiet", "--force", "--output"]);
                command.arg(output).args(options);
            }
            Self::Heaptrack => {
                command = Command::new("heaptrack");
                command.arg("--output").arg(output).arg(python);
            }
            Self::Tracemalloc => {
                command = Command::new(python);
                command.args(["-X", "tracemalloc=5"]);
            }
        }
        command.args(script);
        command
    }
}
