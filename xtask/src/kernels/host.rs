//! The same tests on this machine, with the Pythons that the ordinary tests use.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
};

use anyhow::{Context as _, Result};

use super::{outcome::Outcome, program::TestProgram, table::Column};
use crate::{command, say, setup, test};

/// Runs the tests as root.
pub fn test(program: &TestProgram, tests: &[String], folder: &Path) -> Result<Column> {
    let folder = folder.join("runs/host");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    fs::create_dir_all(&program.scratch).context("make the tests' folder")?;
    let variables = test::environment(&setup::test_pythons()?)?;
    let log = |name: &str| File::create(folder.join(name)).context("make a log");
    let mut command = command::as_root("env")?;
    command.args(variables.iter().map(|(name, value)| format!("{name}={value}")));
    // The events of libtest are an unstable feature.
    command.arg("RUSTC_BOOTSTRAP=1").arg(&program.tests).args(["--test-threads=1", "-Z"]);
    command.args(["unstable-options", "--format=json", "--report-time", "--exact"]).args(tests);
    say(&format!("this machine: {} tests", tests.len()));
    command.stdin(Stdio::null()).stdout(log("events")?).stderr(log("console")?);
    command::status(&mut command)?;
    let events = fs::read(folder.join("events")).context("read the tests' events")?;
    let mut outcome = Outcome::parse(&String::from_utf8_lossy(&events));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("find the kernel")?;
    outcome.release = Some(release.trim().to_owned());
    let (name, tests) = ("this machine".to_owned(), tests.to_vec());
    Ok(Column { name, folder, tests, left_out: Vec::new(), outcome })
}
