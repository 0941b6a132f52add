//! How long memtrace takes to attach to a process with large libraries, and what it needs itself.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use memtrace::process::Process;

use crate::{Arguments, tracing::Tracing};

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
    let workload = Workload::start(python, &arguments.workloads.join("libraries.py"))?;
    let pid = workload.0.id();
    let files = Process::open(pid)?.mappings()?.executables().len();
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    let (mut rss, mut maps) = (0, 0);
    for _ in 0..ROUNDS {
        let cache = tempfile::tempdir().context("make a folder for a cache")?;
        for times in [&mut cold, &mut warm] {
            let tracing = Tracing::attach(&arguments.memtrace, pid, cache.path(), &[])?;
            times.push(tracing.attached_after.as_secs_f64() * 1e3);
            rss = tracing.peak_rss()?.max(rss);
            maps = tracing.map_memory()?.max(maps);
            tracing.stop()?;
        }
    }
    Ok(Some(Attaching { files, cold: median(cold), warm: median(warm), rss, maps }))
}

/// A process that waits to be attached to.
struct Workload(Child);

impl Workload {
    fn start(python: &Path, script: &Path) -> Result<Self> {
        let mut command = Command::new(python);
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut workload =
            Self(command.spawn().with_context(|| format!("start {}", python.display()))?);
        let output = workload.0.stdout.take().context("listen to the workload")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context("listen to the workload")?;
        Ok(workload)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It waits for input that never comes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
