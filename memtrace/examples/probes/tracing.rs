//! memtrace as a user starts it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// A memtrace that is tracing.
pub struct Tracing {
    child: Child,
    errors: BufReader<ChildStderr>,
    /// From its start to the moment from which on everything is recorded.
    pub attached_after: Duration,
}

impl Tracing {
    /// Attaches to a process; `options` follow the others.
    pub fn attach(memtrace: &Path, pid: u32, cache: &Path, options: &[&str]) -> Result<Self> {
        let start = Instant::now();
        let mut child = Command::new(memtrace)
            .args(["--verbose", "--max-overhead", "unlimited", "--pid", &pid.to_string()])
            .args(options)
            .env("MEMTRACE_CACHE", cache)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", memtrace.display()))?;
        let errors = BufReader::new(child.stderr.take().context("read memtrace's messages")?);
        let mut tracing = Self { child, errors, attached_after: Duration::ZERO };
        tracing.wait_for("memtrace: tracing process")?;
        tracing.attached_after = start.elapsed();
        Ok(tracing)
    }

    fn wait_for(&mut self, wanted: &str) -> Result<()> {
        let mut line = String::new();
        while !line.starts_with(wanted) {
            line.clear();
            let size = self.errors.read_line(&mut line).context("read memtrace's messages")?;
            ensure!(size > 0, "memtrace ended without tracing anything");
        }
        Ok(())
    }

    /// The most memory that memtrace itself had resident so far, in bytes.
    pub fn peak_rss(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .context("read VmHWM of memtrace")?;
        Ok(kib << 10)
    }

    /// What the kernel charges memtrace's maps with, in bytes.
    pub fn map_memory(&self) -> Result<u64> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let mut total = 0;
        for entry in fs::read_dir(&folder).with_context(|| format!("list {folder}"))? {
            // A file that memtrace has just closed has no information any more.
            let info = fs::read_to_string(entry?.path()).unwrap_or_default();
            if info.contains("\nmap_type:") {
                total += memlock(&info).context("read the size of a map")?;
            }
        }
        Ok(total)
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(mut self) -> Result<()> {
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGINT) };
        let mut messages = String::new();
        self.errors.read_to_string(&mut messages).context("read memtrace's messages")?;
        let status = self.child.wait().context("wait for memtrace")?;
        ensure!(status.success(), "memtrace ended with {status}: {messages}");
        Ok(())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn memlock(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("memlock:"))?.trim().parse().ok()
}
