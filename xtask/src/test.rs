//! `cargo xtask test`: unit tests and end-to-end tests, both as root.

use std::{
    env, iter,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{command, setup};

type Variables<'a> = &'a [(&'static str, String)];

/// Groups of end-to-end tests that look at the whole machine, load it, or count on memtrace to come to
/// it at once; each of their tests has it for itself. The others wait for the kernel most of the time and share it.
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
/// Tests that run at the same time: most of them wait until the kernel has taken probes off.
const TOGETHER: &str = "--test-threads=6";
const ONE_BY_ONE: &str = "--test-threads=1";

/// Runs both kinds even if the first fails; the last lines are the test programs' own.
pub fn run(arguments: &[&str]) -> Result<ExitCode> {
    let variables = environment(&setup::test_pythons()?)?;
    let unit = command::status(unit_tests(&variables).arg("--").args(arguments))?;
    let mut passed = unit.success();
    for choice in choices(arguments) {
        passed &= command::status(end_to_end_tests(&variables).arg("--").args(choice))?.success();
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The arguments of each run of the end-to-end tests.
fn choices<'a>(arguments: &[&'a str]) -> Vec<Vec<&'a str>> {
    if !arguments.is_empty() {
        return vec![[&[ONE_BY_ONE], arguments].concat()];
    }
    let skipped = ALONE.iter().flat_map(|group| ["--skip", group]);
    vec![iter::once(TOGETHER).chain(skipped).collect(), [&[ONE_BY_ONE], &ALONE[..]].concat()]
}

fn unit_tests(variables: Variables<'_>) -> Command {
    let mut cargo = command::cargo();
    cargo.args(["test", "--workspace", "--lib", "--bins", "--no-fail-fast"]);
    run_as_root(cargo, variables)
}

/// In release mode, because they measure.
fn end_to_end_tests(variables: Variables<'_>) -> Command {
    let mut cargo = command::cargo();
    cargo.args(["test", "--release", "--package", "memtrace", "--test", "end_to_end"]);
    run_as_root(cargo, variables)
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
