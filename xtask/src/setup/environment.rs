//! A virtual environment under `target/`, with packages from pip.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use super::{apt, interpreter::Interpreter};
use crate::{command, say};

/// A directory that is, or will be, a virtual environment of one interpreter.
pub struct Environment {
    directory: PathBuf,
    base: Interpreter,
}

impl Environment {
    /// `directory` is relative to the workspace.
    pub fn new(directory: impl AsRef<Path>, base: Interpreter) -> Result<Self> {
        let directory = std::path::absolute(directory).context("find the workspace")?;
        Ok(Self { directory, base })
    }

    /// The program to start.
    pub fn python(&self) -> PathBuf {
        self.directory.join("bin/python")
    }

    /// Makes the environment and installs the packages that it lacks.
    pub fn prepare(&self, packages: &[&str]) -> Result<()> {
        let what = format!("{} with {}", self.base, packages.join(", "));
        if !self.is_made() {
            self.make()?;
        }
        if packages.iter().all(|package| self.site_packages().join(package).is_dir()) {
            say(&format!("{what}: present ({})", self.base.path.display()));
            return Ok(());
        }
        say(&format!("{what}: installing into {}", self.directory.display()));
        self.install(packages)
    }

    /// False also when the environment belongs to another interpreter than now.
    fn is_made(&self) -> bool {
        let base = self.base.path.canonicalize();
        self.python().canonicalize().is_ok_and(|python| base.is_ok_and(|base| base == python))
    }

    fn make(&self) -> Result<()> {
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory)
                .with_context(|| format!("remove {}", self.directory.display()))?;
        }
        // Debian keeps the pip that an environment would get in a package of its own;
        // the interpreter's pip fills an environment as well.
        let mut venv = self.module("venv");
        command::run_quietly(venv.arg("--without-pip").arg(&self.directory))
            .with_context(|| format!("make {}", self.directory.display()))
    }

    fn install(&self, packages: &[&str]) -> Result<()> {
        if command::answer(self.module("pip").arg("--version")).is_none() {
            self.install_pip()?;
        }
        let mut pip = self.module("pip");
        pip.args(["install", "--quiet", "--only-binary", ":all:", "--target"]);
        pip.arg(self.site_packages()).args(packages);
        command::run_quietly(&mut pip)
            .with_context(|| format!("install {} for {}", packages.join(" "), self.base))
    }

    fn install_pip(&self) -> Result<()> {
        if self.base.path.starts_with("/usr/bin") {
            return apt::install(&["python3-pip"]);
        }
        let path = self.base.path.display();
        Err(anyhow!("{path} has no pip\nhint: {path} -m ensurepip"))
    }

    fn module(&self, name: &str) -> Command {
        let mut command = Command::new(&self.base.path);
        command.args(["-m", name]);
        command
    }

    fn site_packages(&self) -> PathBuf {
        self.directory.join(format!("lib/python3.{}/site-packages", self.base.minor))
    }
}
