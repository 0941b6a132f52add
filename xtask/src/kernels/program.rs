//! memtrace and its tests, linked statically: they run under any C library.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{command, say, setup};

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The program of the end-to-end tests, and what it expects to find.
pub struct TestProgram {
    /// The test program.
    pub tests: PathBuf,
    /// The test program and the memtrace that it tests, without the debug information that is most
    /// of them: where they are, and their bytes.
    pub stripped: Vec<(PathBuf, Vec<u8>)>,
    /// Where the test program writes.
    pub scratch: PathBuf,
    /// The folder of this workspace.
    pub workspace: PathBuf,
}

impl TestProgram {
    /// Builds both programs into a folder of their own.
    pub fn build(folder: &Path) -> Result<Self> {
        setup::build_tools()?;
        say("building memtrace and its tests, statically linked");
        let mut cargo = command::cargo();
        cargo.args(["test", "--release", "--package", "memtrace", "--test", "end_to_end"]);
        cargo.args(["--no-run", "--target", TARGET, "--message-format=json-render-diagnostics"]);
        cargo.arg("--target-dir").arg(folder).env("RUSTFLAGS", "-C target-feature=+crt-static");
        let output =
            cargo.stderr(std::process::Stdio::inherit()).output().context("start cargo")?;
        ensure!(output.status.success(), "the tests do not build");
        let messages = String::from_utf8_lossy(&output.stdout);
        let tests = messages.lines().find_map(executable).context("cargo names no test program")?;
        let (tests, folder) = (PathBuf::from(tests), folder.join(TARGET));
        let programs = [tests.clone(), folder.join("release/memtrace")].into_iter();
        let stripped = programs.map(|path| stripped(&path).map(|bytes| (path, bytes)));
        Ok(Self {
            tests,
            stripped: stripped.collect::<Result<_>>()?,
            scratch: folder.join("tmp"),
            workspace: env::current_dir().context("find the workspace")?,
        })
    }

    /// Names of all tests.
    pub fn tests(&self) -> Result<Vec<String>> {
        let answer =
            command::answer(Command::new(&self.tests).args(["--list", "--format", "terse"]));
        let answer = answer.context("the test program does not list its tests")?;
        Ok(answer
            .lines()
            .filter_map(|line| line.strip_suffix(": test"))
            .map(str::to_owned)
            .collect())
    }
}

/// The contents of a program without debug information.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let folder = program.parent().context("a program without a folder")?;
    let copy = folder.join("stripped");
    let mut strip = Command::new("strip");
    command::run_quietly(strip.arg("--strip-debug").arg("-o").arg(&copy).arg(program))?;
    let bytes = fs::read(&copy).with_context(|| format!("read {}", copy.display()))?;
    fs::remove_file(&copy).with_context(|| format!("remove {}", copy.display()))?;
    Ok(bytes)
}

/// The test program in a message of cargo's.
fn executable(message: &str) -> Option<String> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_tests = message["target"]["name"] == "end_to_end";
    message["executable"].as_str().filter(|_| is_tests).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_program_is_found_among_the_messages() {
        let message = |name: &str, executable: &str| {
            format!(r#"{{"target":{{"name":"{name}"}},"executable":{executable}}}"#)
        };
        assert_eq!(executable(&message("end_to_end", r#""/a b/c""#)), Some("/a b/c".to_owned()));
        assert_eq!(executable(&message("memtrace", r#""/d""#)), None);
        assert_eq!(executable(&message("end_to_end", "null")), None);
        assert_eq!(executable("not JSON"), None);
    }
}
