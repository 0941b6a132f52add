//! Tools that come to a workload that is running already, and leave it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use memtrace::process::Process;

use crate::{
    Arguments, SETTLED,
    lines::Lines,
    tracing::{Ended, Tracing},
};

/// Longest that bpftrace may take to attach.
const PATIENCE: Duration = Duration::from_mins(1);
/// Blocks and stacks that bpftrace may remember.
const MAP_KEYS: &str = "4000000";
/// memtrace's exit code for options that it does not know.
const USAGE: i32 = 2;

/// A tool that is looking at a process.
pub enum Attached {
    Memtrace(Tracing, PathBuf),
    Bpftrace(Bpftrace),
}

impl Attached {
    /// Attaches memtrace; `Err` within says why this memtrace cannot.
    pub fn memtrace(
        arguments: &Arguments,
        pid: u32,
        folder: &Path,
        options: &[&str],
    ) -> Result<Result<Self, String>> {
        let report = folder.join("report.json");
        let output = report.to_str().context("name a report")?;
        let options = [&["--output", output], options].concat();
        match Tracing::attach(&arguments.memtrace, &[pid], folder, &options) {
            Ok(tracing) => {
                thread::sleep(SETTLED);
                Ok(Ok(Self::Memtrace(tracing, report)))
            }
            Err(error) => match error.downcast_ref::<Ended>() {
                Some(ended) if ended.status.code() == Some(USAGE) => {
                    Ok(Err("not supported by this memtrace".to_owned()))
                }
                _ => Err(error),
            },
        }
    }

    /// Attaches bpftrace with `workloads/memleak.bt`.
    pub fn bpftrace(arguments: &Arguments, pid: u32, folder: &Path) -> Result<Self> {
        Bpftrace::attach(&arguments.workload("memleak.bt"), pid, folder).map(Self::Bpftrace)
    }

    /// Takes the tool off again; returns how many things memtrace says that it has lost.
    pub fn leave(self) -> Result<u64> {
        match self {
            Self::Memtrace(tracing, report) => {
                tracing.stop()?;
                losses(&report)
            }
            Self::Bpftrace(bpftrace) => bpftrace.leave().map(|()| 0),
        }
    }
}

/// A bpftrace that is tracing.
pub struct Bpftrace(Child);

impl Bpftrace {
    fn attach(script: &Path, pid: u32, folder: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(script).with_context(|| format!("read {}", script.display()))?;
        let own = folder.join("memleak.bt");
        let text = text.replace("LIBC", &libc_of(pid)?.to_string_lossy());
        fs::write(&own, text).with_context(|| format!("write {}", own.display()))?;
        let mut child = Command::new("bpftrace")
            .args(["-p", &pid.to_string()])
            .arg(&own)
            .env("BPFTRACE_MAP_KEYS_MAX", MAP_KEYS)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start bpftrace")?;
        let output = Lines::of(child.stdout.take().context("listen to bpftrace")?);
        let bpftrace = Self(child);
        let ready = |line: &str| (line == "ready").then_some(());
        output.find(PATIENCE, ready).context("wait for bpftrace")?;
        Ok(bpftrace)
    }

    fn leave(mut self) -> Result<()> {
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(self.0.id().cast_signed(), libc::SIGINT) };
        self.0.wait().context("wait for bpftrace").map(drop)
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn libc_of(pid: u32) -> Result<PathBuf> {
    let mappings = Process::open(pid)?.mappings()?;
    let paths = mappings.list.iter().map(|mapping| &mapping.path);
    let is_libc = |path: &&std::sync::Arc<Path>| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"libc.so"))
    };
    match paths.clone().find(is_libc) {
        Some(path) => Ok(path.to_path_buf()),
        None => bail!("process {pid} has no C library"),
    }
}

fn losses(report: &Path) -> Result<u64> {
    let text = fs::read(report).context("read memtrace's report")?;
    let report: serde_json::Value =
        serde_json::from_slice(&text).context("parse memtrace's report")?;
    let losses = report["losses"].as_array().context("find the losses in memtrace's report")?;
    Ok(losses.iter().filter_map(|loss| loss["count"].as_u64()).sum())
}
