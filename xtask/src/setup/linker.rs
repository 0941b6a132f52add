//! The linker of the kernel object, and the LLVM that it is built with.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use super::apt;
use crate::{command, say};

const VERSION: &str = "0.13.0";
const TOOLS: &str = "target/tools";
const BUILD: &str = "target/tools/build";

/// Installs bpf-linker for this workspace alone.
pub fn prepare() -> Result<()> {
    let linker = Path::new(TOOLS).join("bin/bpf-linker");
    let version = command::answer(Command::new(linker).arg("--version"));
    if version == Some(format!("bpf-linker {VERSION}")) {
        say(&format!("bpf-linker {VERSION}: present in {TOOLS}"));
        return Ok(());
    }
    let llvm = llvm()?;
    say(&format!("bpf-linker {VERSION}: installing into {TOOLS} (about 40 s)"));
    install(&llvm).map_err(|error| {
        let by_hand = format!(
            "LLVM_PREFIX={} cargo install {}",
            llvm.display(),
            install_arguments().join(" ")
        );
        anyhow!("install bpf-linker: {error:#}\nhint: by hand: {by_hand}")
    })
}

fn install(llvm: &Path) -> Result<()> {
    let inherited = env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(llvm.join("bin")).chain(env::split_paths(&inherited));
    let path = env::join_paths(directories).context("join the directories of PATH")?;
    let mut cargo = command::cargo();
    cargo.arg("install").args(install_arguments()).args(["--target-dir", BUILD]);
    command::run_quietly(cargo.env("LLVM_PREFIX", llvm).env("PATH", path))?;
    fs::remove_dir_all(BUILD).with_context(|| format!("remove {BUILD}"))
}

fn install_arguments() -> [&'static str; 9] {
    [
        "bpf-linker",
        "--version",
        VERSION,
        "--locked",
        "--no-default-features",
        "--features",
        "llvm-22",
        "--root",
        TOOLS,
    ]
}

/// The directory of an LLVM at least as new as the compiler's: Rust 1.95.0 has LLVM 22.1.
fn llvm() -> Result<PathBuf> {
    let llvm = env::var_os("LLVM_PREFIX").map_or_else(|| "/usr/lib/llvm-22".into(), PathBuf::from);
    if llvm.join("lib/libLLVM.so").exists() {
        say(&format!("LLVM 22: present ({})", llvm.display()));
        return Ok(llvm);
    }
    apt::install(&["llvm-22-dev"]).map_err(|error| {
        anyhow!("{error:#}\nhint: other systems: https://apt.llvm.org, or LLVM_PREFIX=DIRECTORY")
    })?;
    Ok(llvm)
}
