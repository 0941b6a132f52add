//! How long memtrace takes to attach to a process with large libraries, and what it needs itself.

use std::process::Command;

use anyhow::{Context as _, Result};
use memtrace::process::Process;

use crate::{Arguments, statistics::median, tracing::Tracing, worker::Worker};

/// Attachments of each kind.
pub const ROUNDS: usize = 5;

/// Medians over the rounds.
pub struct Attaching {
    /// Executable files that the process has mapped.
    pub files: usize,
    /// Milliseconds from the start of memtrace until everything is recorded, with all unwind
    /// tables to be made.
    pub cold: f64,
    /// The same, with the tables on disk.
    pub warm: f64,
    /// Bytes that memtrace itself had resident at most.
    pub rss: u64,
    /// Bytes of its maps in the kernel.
    pub maps: u64,
}

/// Measures; `None` if there is no Python with the libraries.
pub fn measure(arguments: &Arguments) -> Result<Option<Attaching>> {
    let Some(python) = &arguments.python_with_libraries else { return Ok(None) };
    let worker = Worker::start(Command::new(python).arg(arguments.workload("libraries.py")))?;
    let pid = worker.pid();
    let files = Process::open(pid)?.mappings()?.executables().len();
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let (mut rss, mut maps) = (0, 0);
    for _ in 0..ROUNDS {
        let cache = tempfile::tempdir().context("make a folder for a cache")?;
        for times in [&mut cold, &mut warm] {
            let tracing = Tracing::attach(&arguments.memtrace, &[pid], cache.path(), &[])?;
            times.push(tracing.attached_after.as_secs_f64() * 1e3);
            rss = tracing.peak_rss()?.max(rss);
            maps = tracing.map_memory()?.max(maps);
            tracing.stop()?;
        }
    }
    Ok(Some(Attaching { files, cold: median(cold), warm: median(warm), rss, maps }))
}
