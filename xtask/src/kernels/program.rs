//! memtrace and its tests, built so that they run under the C library of every suite.

use std::{
    env, fs,
    path::{self, Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::catalog::{Glibc, Pair};
use crate::{command, say, setup, test};

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
    /// Builds both programs: those that are tested on this machine if they run in all suites, else
    /// others, linked statically, into a folder of their own.
    pub fn build(folder: &Path, pairs: &[Pair]) -> Result<Self> {
        setup::build_tools()?;
        let mut cargo = test::end_to_end();
        let folder = if run_as_they_are(own_glibc(), pairs) {
            say("building memtrace and its tests");
            path::absolute(command::target_dir())?
        } else {
            say("building memtrace and its tests, statically linked");
            cargo.args(["--target", TARGET, "--target-dir"]).arg(folder);
            cargo.env("RUSTFLAGS", "-C target-feature=+crt-static");
            folder.join(TARGET)
        };
        cargo.args(["--no-run", "--message-format=json-render-diagnostics"]);
        let output = cargo.stderr(Stdio::inherit()).output().context("start cargo")?;
        ensure!(output.status.success(), "the tests do not build");
        let messages = String::from_utf8_lossy(&output.stdout);
        let tests = messages.lines().find_map(executable).context("cargo names no test program")?;
        let tests = PathBuf::from(tests);
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

/// Whether programs that this machine links with its C library run in all suites.
fn run_as_they_are(own: Option<Glibc>, pairs: &[Pair]) -> bool {
    own.is_some_and(|own| pairs.iter().all(|pair| own <= pair.suite.glibc))
}

/// `None` if the machine has another C library.
fn own_glibc() -> Option<Glibc> {
    glibc(&command::answer(Command::new("getconf").arg("GNU_LIBC_VERSION"))?)
}

/// Reads `glibc 2.36`.
fn glibc(answer: &str) -> Option<Glibc> {
    let (major, minor) = answer.strip_prefix("glibc ")?.split_once('.')?;
    Some([major.parse().ok()?, minor.parse().ok()?])
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
    use crate::kernels::catalog::Choice;

    #[test]
    fn programs_run_as_they_are_where_no_c_library_is_older_than_theirs() {
        let run = |own, name| run_as_they_are(own, &Choice::of(name).unwrap().pairs);
        assert!(run(glibc("glibc 2.36"), "6.1/bookworm"));
        assert!(run(glibc("glibc 2.4"), "6.1"));
        assert!(!run(glibc("glibc 2.36"), "6.1"));
        assert!(!run(glibc("glibc 2.39"), "6.1/bookworm"));
        assert!(!run(glibc("musl"), "6.1/bookworm"));
    }

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
