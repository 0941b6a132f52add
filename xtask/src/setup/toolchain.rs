//! The parts of the Rust toolchain beyond compiler and cargo.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, anyhow};

use crate::{command, say};

/// The source of `core`, which is compiled for the kernel.
pub fn sources() -> Result<()> {
    let sysroot = command::answer(Command::new("rustc").args(["--print", "sysroot"]));
    let sysroot =
        sysroot.context("rustc does not answer\nhint: install Rust: https://rustup.rs")?;
    if Path::new(&sysroot).join("lib/rustlib/src/rust/library/core/Cargo.toml").exists() {
        say("rust-src: present");
        return Ok(());
    }
    add("rust-src").map_err(|error| {
        anyhow!(
            "{error:#}\nhint: without rustup: Debian's packages rustc-web, cargo-web and \
             rust-web-src bring a compiler with its source"
        )
    })
}

/// Clippy and rustfmt.
pub fn lints() -> Result<()> {
    for (component, program) in [("clippy", "cargo-clippy"), ("rustfmt", "rustfmt")] {
        match command::answer(Command::new(program).arg("--version")) {
            Some(version) => say(&format!("{component}: present ({version})")),
            None => add(component)?,
        }
    }
    Ok(())
}

/// Adds a component to the toolchain in use: with `RUSTUP_AUTO_INSTALL=0` rustup waits to be asked.
fn add(component: &str) -> Result<()> {
    say(&format!("{component}: installing with rustup"));
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", component]);
    command::run_quietly(&mut rustup).map_err(|error| {
        anyhow!("install {component}: {error:#}\nhint: by hand: rustup component add {component}")
    })
}
