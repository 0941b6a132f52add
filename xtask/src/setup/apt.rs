//! Installs Debian packages, or says which command would.

use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use crate::{command, say};

/// Installs packages as root; the error names the command to run by hand.
pub fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    say(&format!("{names}: installing with apt-get"));
    try_install(packages).map_err(|error| {
        let by_hand = format!("sudo apt-get update && sudo apt-get install -y {names}");
        anyhow!("install {names}: {error:#}\nhint: by hand: {by_hand}")
    })
}

fn try_install(packages: &[&str]) -> Result<()> {
    command::answer(Command::new("apt-get").arg("--version"))
        .context("this system has no apt-get")?;
    // One broken third-party source fails the update, and often does not matter.
    let updated = command::run_quietly(apt_get()?.args(["-q", "update"]));
    let mut install = apt_get()?;
    install.args(["-q", "install", "-y", "--no-install-recommends"]).args(packages);
    command::run_quietly(&mut install).map_err(|error| match updated {
        Ok(()) => error,
        Err(update) => anyhow!("{update:#}\n{error:#}"),
    })
}

fn apt_get() -> Result<Command> {
    let mut command = command::as_root("env")?;
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    Ok(command)
}
