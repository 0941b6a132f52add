//! `cargo xtask bench`: prepares what a benchmark needs and runs it; the figures are its output.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command, say, setup};

const WORKLOADS: &str = "tests/workloads";

/// What probes, unwinding and attaching cost on this machine.
pub fn probes() -> Result<()> {
    let release = command::target_dir().join("release");
    let mut probes = command::as_root(release.join("examples/probes"))?;
    let pythons = setup::bench_pythons()?;
    let build = ["build", "--release", "--package", "memtrace", "--bins", "--example", "probes"];
    command::run(command::cargo().args(build))?;
    probes.arg(release.join("memtrace")).arg(pythons.plain).arg(WORKLOADS);
    probes.arg(library()?).args(pythons.with_libraries);
    say("measuring: takes about two minutes");
    command::run(&mut probes)
}

/// `pairs.c`, compiled.
fn library() -> Result<PathBuf> {
    let folder = command::target_dir().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let library = std::path::absolute(folder.join("pairs.so")).context("find the workspace")?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-g", "-fomit-frame-pointer", "-fno-builtin", "-shared", "-fPIC", "-o"]);
    command::run(cc.arg(&library).arg(Path::new(WORKLOADS).join("pairs.c")))?;
    Ok(library)
}
