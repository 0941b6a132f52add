//! One snapshot of one process: check the outputs, look, report.

use std::time::Duration;

use anyhow::Result;

use super::progress::Progress;
use crate::{
    cli::Exit,
    objects::Objects,
    output::{self, Outputs},
    process::Process,
    report, snapshot,
};

/// How long tracing waits for what is printed before it.
const BRIEF: Duration = Duration::from_secs(2);

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
    let snapshot = snapshot::take(&process, &mut Objects::with_cache(), options.limit)?;
    options.outputs.write_snapshot(&snapshot)?;
    if options.outputs.files.is_empty() {
        output::print_snapshot(&snapshot, false)?;
    }
    Ok(Exit::Success)
}

/// Prints what fits a screen of each process that is about to be traced. Those that cannot be
/// looked at are left to tracing, which says so.
pub fn print_brief(pids: &[u32], objects: &mut Objects, progress: &Progress) {
    let limit = BRIEF / pids.len().try_into().unwrap_or(u32::MAX).max(1);
    for pid in pids {
        let taken = Process::open(*pid).map_err(Into::into);
        let taken = taken.and_then(|process| snapshot::take(&process, objects, limit));
        if let Ok(snapshot) = taken {
            progress.clear();
            // If nobody reads it, the reports may still be wanted; the summary meets the same.
            let _ = output::print_snapshot(&snapshot, true);
        }
    }
}
