//! One snapshot of one process: check the outputs, look, report.

use std::time::Duration;

use anyhow::Result;

use crate::{
    cli::Exit,
    output::{self, Outputs},
    process::Process,
    report, snapshot,
};

/// What the user wants.
pub struct SnapshotOptions {
    /// The process.
    pub pid: u32,
    /// How long it may take.
    pub limit: Duration,
    /// Reports to write; without any, the snapshot is printed.
    pub outputs: Outputs,
}

/// Takes a snapshot and reports it.
pub fn run_snapshot(options: &SnapshotOptions) -> Result<Exit> {
    for path in &options.outputs.files {
        report::snapshot::check(path)?;
    }
    options.outputs.check()?;
    let process = Process::open(options.pid)?;
    let snapshot = snapshot::take(&process, options.limit)?;
    options.outputs.write_snapshot(&snapshot)?;
    if options.outputs.files.is_empty() {
        output::print_snapshot(&snapshot, false)?;
    }
    Ok(Exit::Success)
}
