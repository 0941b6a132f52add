//! `cargo xtask lint`: formatting, clippy on both targets, and the rules of the source tree.

mod tidy;

use std::process::Command;

use anyhow::Result;

use crate::{command, say, setup};

/// Its own, because skipping the kernel object here must not make the next build start over.
const TARGET_DIR: &str = "target/lint";

/// Stops at the first check that finds something.
pub fn run() -> Result<()> {
    setup::lint_tools()?;
    tidy::check()?;
    command::run(command::cargo().args(["fmt", "--all", "--check"]))?;
    command::run(&mut host_clippy())?;
    command::run(&mut kernel_clippy())?;
    say("lint: clean");
    Ok(())
}

fn host_clippy() -> Command {
    let mut cargo = clippy();
    cargo.args(["--workspace", "--all-targets", "--", "-D", "warnings"]);
    cargo.env("AYA_BUILD_SKIP", "1");
    cargo
}

fn kernel_clippy() -> Command {
    let mut cargo = clippy();
    cargo.args(["--package", "memtrace-ebpf", "--bin", "memtrace-ebpf"]);
    cargo.args(["--target", "bpfel-unknown-none", "-Zbuild-std=core", "--", "-D", "warnings"]);
    cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", "--cfg bpf_target_arch=\"x86_64\"");
    cargo
}

fn clippy() -> Command {
    let mut cargo = command::cargo();
    cargo.args(["clippy", "--quiet", "--target-dir", TARGET_DIR]);
    cargo
}
