//! What an emulated machine is given besides its disk: the test program where it expects itself to
//! be, and the two scripts that lead to it.

use std::{ffi::OsStr, fs, path::Path};

use anyhow::{Context as _, Result};

use super::{catalog::Suite, cpio::Cpio, program::TestProgram};

/// Process 1 before there is a disk.
pub const INIT: &str = include_str!("init.sh");
/// Process 1 from then on.
const RUN: &str = include_str!("run.sh");

/// What the first script copies to the root of the disk.
const COPIED: &str = "copied";

/// How many times slower than usual emulated tests may be before they are given up.
const PATIENCE: u32 = 20;

/// How often a busy process is traced: its threads leave memtrace a fifth of a slow processor.
const CYCLES: u32 = 3;

/// Everything but what the kernel needs.
pub fn payload(program: &TestProgram, suite: &Suite, tests: &[String]) -> Result<Cpio> {
    let mut cpio = Cpio::default();
    cpio.file(&format!("{COPIED}/run.sh"), RUN.as_bytes());
    cpio.file(&format!("{COPIED}/environment"), environment(program, suite, tests)?.as_bytes());
    for (path, bytes) in &program.stripped {
        cpio.file(&copied(path)?, bytes);
    }
    let workloads = program.workspace.join("tests/workloads");
    for entry in
        fs::read_dir(&workloads).with_context(|| format!("list {}", workloads.display()))?
    {
        copy(&mut cpio, &entry.context("list the workloads")?.path())?;
    }
    cpio.folder(&copied(&program.scratch)?);
    cpio.folder(&copied(&program.workspace.join("memtrace"))?);
    Ok(cpio)
}

/// Puts a file where it is on this machine.
fn copy(cpio: &mut Cpio, path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    cpio.file(&copied(path)?, &bytes);
    Ok(())
}

fn copied(path: &Path) -> Result<String> {
    Ok(format!("{COPIED}{}", text(path.as_os_str())?))
}

/// Shell variables, and the names of the tests as the positional parameters.
fn environment(program: &TestProgram, suite: &Suite, tests: &[String]) -> Result<String> {
    let paths = |names: &[&str]| {
        let paths: Vec<_> = names.iter().map(|name| format!("/usr/bin/{name}")).collect();
        paths.join(":")
    };
    let variables = [
        ("TESTS", text(program.tests.as_os_str())?.to_owned()),
        ("MEMTRACE_TEST_PYTHON", paths(&suite.pythons[..1])),
        ("MEMTRACE_TEST_PYTHONS", paths(suite.pythons)),
        ("MEMTRACE_TEST_UNSUPPORTED_PYTHONS", paths(suite.unsupported_pythons)),
        ("MEMTRACE_TEST_PATIENCE", PATIENCE.to_string()),
        ("MEMTRACE_TEST_CYCLES", CYCLES.to_string()),
    ];
    let lines = variables.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    Ok(format!("{}set -- {}\n", lines.collect::<String>(), tests.join(" ")))
}

fn text(path: &OsStr) -> Result<&str> {
    path.to_str().context("a path of this workspace is not UTF-8")
}

/// As one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word_whatever_is_in_it() {
        assert_eq!(quoted("/a b"), "'/a b'");
        assert_eq!(quoted("it's; $x"), r"'it'\''s; $x'");
    }
}
