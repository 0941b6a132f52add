//! `cargo xtask bench`: prepares what a benchmark needs, runs it, and draws what it leaves; the
//! figures are its output.

mod chart;
pub mod figures;

use std::{ffi::OsString, fs, io::ErrorKind, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{command, say, setup};

const WORKLOADS: &str = "tests/workloads";
const FOLDER: &str = "target/bench";
/// The program that measures.
const EXAMPLE: &str = "bench";

/// What there is to run, and how long it takes.
const BENCHMARKS: [(&str, &str); 4] = [
    ("probes", "two minutes"),
    ("overhead", "forty minutes"),
    ("scale", "six minutes"),
    ("unwind", "a minute"),
];

/// Whether there is a benchmark of this name.
pub fn is_known(name: &str) -> bool {
    BENCHMARKS.iter().any(|(known, _)| *known == name)
}

/// Runs a benchmark, which knows the options.
pub fn run(name: &str, options: &[&str]) -> Result<()> {
    let mut bench = prepare(name)?;
    bench.args(options);
    let time = BENCHMARKS.iter().find(|(known, _)| *known == name).map_or("a while", |(_, it)| it);
    let about = if options.is_empty() { "about" } else { "less than" };
    say(&format!("measuring: takes {about} {time}"));
    let left = Path::new(FOLDER).join(format!("{name}.json"));
    remove(&left)?;
    command::run(&mut bench)?;
    if left.exists() { draw(&left) } else { Ok(()) }
}

/// What an earlier run has left must not be drawn again.
fn remove(left: &Path) -> Result<()> {
    match fs::remove_file(left) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", left.display()))
        }
        _ => Ok(()),
    }
}

/// Installs and builds what a benchmark needs.
fn prepare(name: &str) -> Result<Command> {
    let release = command::target_dir().join("release");
    let mut bench = command::as_root(release.join("examples").join(EXAMPLE))?;
    let pythons = setup::bench_pythons()?;
    if name == "overhead" {
        setup::peers(&pythons);
    }
    let build = ["build", "--release", "--package", "memtrace", "--bins", "--example", EXAMPLE];
    command::run(command::cargo().args(build))?;
    let folder = std::path::absolute(FOLDER).context("find the workspace")?;
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    compile("pairs.c", &folder.join("pairs.so"), &["-shared", "-fPIC"])?;
    compile("live.c", &folder.join("live"), &[])?;
    bench.arg(name).args(option("--memtrace", release.join("memtrace")));
    bench.args(option("--python", pythons.plain)).args(option("--workloads", WORKLOADS));
    bench.args(option("--folder", folder));
    if let Some(python) = pythons.with_libraries {
        bench.args(option("--python-with-libraries", python));
    }
    Ok(bench)
}

fn option(name: &str, value: impl Into<OsString>) -> [OsString; 2] {
    [name.into(), value.into()]
}

/// Compiles a workload in C.
fn compile(source: &str, program: &Path, flags: &[&str]) -> Result<()> {
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-g", "-fomit-frame-pointer", "-fno-builtin"]).args(flags).arg("-o");
    command::run(cc.arg(program).arg(Path::new(WORKLOADS).join(source)))
}

/// Draws what the measuring program has left.
fn draw(left: &Path) -> Result<()> {
    let text = fs::read(left).with_context(|| format!("read {}", left.display()))?;
    let figure = serde_json::from_slice(&text);
    let figure = figure.with_context(|| format!("parse {}", left.display()))?;
    let path = left.with_extension("svg");
    chart::draw(&figure, &path).with_context(|| format!("draw {}", path.display()))?;
    say(&format!("chart: {}", path.display()));
    Ok(())
}
