//! `cargo xtask test`: unit tests and end-to-end tests, both as root.

use std::{
    env, fs, iter,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{command, setup};

type Variables<'a> = &'a [(&'static str, String)];

/// Groups of end-to-end tests that look at the whole machine, load it, or count on memtrace to come to
/// it at once; each of their tests has it for itself. The others share it.
const ALONE: [&str; 11] = [
    "budget::",
    "faults::",
    "harmless::",
    "heap::busy",
    "oom::",
    "python::complete",
    "safety::",
    "selection::",
    "snapshot::memory::a_gibibyte",
    "snapshot::memory::millions",
    "trees::",
];
/// Groups of those that share the machine and keep it busy.
const BUSY: [&str; 5] = ["decomposition::", "heap::", "objects::", "python::", "snapshot::"];
/// Groups of those that take longest.
const LONG: [&str; 2] = ["scenarios::", "wheels::"];
/// Tests of each kind that run at the same time. Those of no group wait most of the time, until the
/// kernel has taken probes off.
const TOGETHER: &str = "--test-threads=3";
const ONE_BY_ONE: &str = "--test-threads=1";

/// Runs all of them even if some fail; the last lines are the test programs' own.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let variables = environment(&setup::test_pythons()?)?;
    // What earlier runs compiled; where there was none, there is nothing to remove.
    let _ = fs::remove_dir_all(command::target_dir().join("tmp"));
    command::run(unit_tests(&variables).arg("--no-run"))?;
    command::run(end_to_end_tests(&variables).arg("--no-run"))?;
    let mut passed = true;
    for programs in steps(arguments, &variables) {
        passed &= command::succeed_together(programs)?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What runs at the same time, one step after the other.
fn steps(arguments: &[&str], variables: Variables<'_>) -> Vec<Vec<Command>> {
    let unit = with(unit_tests(variables), arguments);
    let end_to_end = |arguments: Vec<&str>| with(end_to_end_tests(variables), &arguments);
    if !arguments.is_empty() {
        return vec![vec![unit], vec![end_to_end([&[ONE_BY_ONE], arguments].concat())]];
    }
    let skip = |groups: &'static [&str]| groups.iter().flat_map(|group| ["--skip", group]);
    let together = || iter::once(TOGETHER).chain(skip(&ALONE));
    let waiting = together().chain(skip(&BUSY)).chain(skip(&LONG)).collect();
    let [busy, long] =
        [&BUSY[..], &LONG].map(|groups| together().chain(groups.iter().copied()).collect());
    vec![
        vec![end_to_end(waiting), end_to_end(busy), end_to_end(long), unit],
        vec![end_to_end([&[ONE_BY_ONE], &ALONE[..]].concat())],
    ]
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.arg("--").args(arguments);
    command
}

fn unit_tests(variables: Variables<'_>) -> Command {
    let mut cargo = command::cargo();
    cargo.args(["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]);
    run_as_root(cargo, variables)
}

fn end_to_end_tests(variables: Variables<'_>) -> Command {
    run_as_root(end_to_end(), variables)
}

/// The end-to-end tests, in release mode, because they measure.
pub fn end_to_end() -> Command {
    let mut cargo = command::cargo();
    cargo.args(["test", "--release", "--package", "memtrace", "--test", "end_to_end"]);
    cargo
}

/// Cargo builds as the user; the test programs run as root, without whom other users' processes
/// cannot be looked at. If root cannot be had, tests fail and say what they lack.
fn run_as_root(mut cargo: Command, variables: Variables<'_>) -> Command {
    cargo.envs(variables.iter().cloned());
    let sudo = command::root_prefix().unwrap_or_default();
    if !sudo.is_empty() {
        // sudo clears the environment.
        let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
        let words = sudo.iter().copied().chain(["env"]).map(str::to_owned).chain(variables);
        let runner: Vec<String> = words.collect();
        cargo.arg("--config").arg(format!("target.'cfg(unix)'.runner={runner:?}"));
    }
    cargo
}

/// What the test programs are told about this machine.
pub fn environment(pythons: &setup::TestPythons) -> Result<Vec<(&'static str, String)>> {
    let all = env::join_paths(&pythons.all).context("join the paths of the Pythons")?;
    let text = |path: PathBuf| path.into_os_string().into_string();
    let text = |path| text(path).ok().context("a path of this workspace is not UTF-8");
    Ok(vec![
        ("MEMTRACE_TEST_PYTHON", text(pythons.main.clone())?),
        ("MEMTRACE_TEST_PYTHONS", text(all.into())?),
        ("MEMTRACE_TEST_SCENARIOS", text(pythons.scenarios.clone())?),
        ("MEMTRACE_TEST_WHEELS", text(pythons.wheels.clone())?),
        ("PATH", text(env::var_os("PATH").unwrap_or_default().into())?),
    ])
}
