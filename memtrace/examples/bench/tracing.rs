//! memtrace as a user starts it.

use std::{
    error::Error,
    fmt, fs,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lines::Lines;

/// Longest that attaching, or writing a report, may take.
const PATIENCE: Duration = Duration::from_secs(400);

/// A memtrace that is tracing.
pub struct Tracing {
    child: Child,
    errors: Lines,
    /// From its start to the moment from which on everything is recorded.
    pub attached_after: Duration,
}

/// memtrace ended instead of tracing.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub status: ExitStatus,
    messages: String,
}

impl fmt::Display for Ended {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "memtrace ended with {}: {}", self.status, self.messages.trim())
    }
}

impl Error for Ended {}

/// What was left behind by a memtrace that was stopped.
pub struct Stopped {
    /// From the request to the end of memtrace.
    pub after: Duration,
    /// From the request to the moment in which the report was there.
    pub written: Option<Duration>,
    /// The most memory that memtrace had resident until shortly before its end, in bytes.
    pub peak_rss: u64,
}

impl Tracing {
    /// Attaches to processes, and waits until all of them are traced; `options` follow the others.
    pub fn attach(memtrace: &Path, pids: &[u32], cache: &Path, options: &[&str]) -> Result<Self> {
        let start = Instant::now();
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut child = Command::new(memtrace)
            .args(["--verbose", "--max-overhead", "unlimited", "--pid", &list.join(",")])
            .args(options)
            .env("MEMTRACE_CACHE", cache)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", memtrace.display()))?;
        let errors = Lines::of(child.stderr.take().context("read memtrace's messages")?);
        let mut tracing = Self { child, errors, attached_after: Duration::ZERO };
        for _ in pids {
            tracing.wait_for("memtrace: tracing process")?;
        }
        tracing.attached_after = start.elapsed();
        Ok(tracing)
    }

    fn wait_for(&mut self, wanted: &str) -> Result<()> {
        let mut messages = String::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.errors.next(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(wanted) => return Ok(()),
                Ok(line) => messages += &(line + "\n"),
                Err(_) => break,
            }
        }
        match self.child.try_wait().context("wait for memtrace")? {
            Some(status) => Err(Ended { status, messages }.into()),
            None => bail!("memtrace traces nothing within {} s: {messages}", PATIENCE.as_secs()),
        }
    }

    /// The most memory that memtrace itself had resident so far, in bytes.
    pub fn peak_rss(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))
            .context("read the status of memtrace")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = line
            .and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
            .context("read VmHWM of memtrace")?;
        Ok(kib << 10)
    }

    /// What the kernel charges memtrace's maps with, in bytes. Since Linux 6.4 that is what their
    /// entries use now, before it is what they may use at most.
    pub fn map_memory(&self) -> Result<u64> {
        let sizes = self.kernel_objects("map_type")?;
        sizes.iter().map(|info| field(info, "memlock").context("read the size of a map")).sum()
    }

    /// Nanoseconds that memtrace's programs have run, as far as the kernel has timed them.
    pub fn program_time(&self) -> Result<u64> {
        let programs = self.kernel_objects("prog_type")?;
        let time = |info| field(info, "run_time_ns").context("read the run time of a program");
        programs.iter().map(|info| time(info)).sum()
    }

    /// What the kernel says of memtrace's open files of a kind.
    fn kernel_objects(&self, kind: &str) -> Result<Vec<String>> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("list {folder}"))? {
            // A file that memtrace has just closed has no information any more.
            let info = fs::read_to_string(entry?.path()).unwrap_or_default();
            if info.contains(&format!("\n{kind}:")) {
                found.push(info);
            }
        }
        Ok(found)
    }

    /// Ends it as Ctrl-C does.
    pub fn stop(self) -> Result<Stopped> {
        self.stop_with(None)
    }

    /// As [`Tracing::stop`], and notices when the report is there; the probes come off after that.
    pub fn stop_with(mut self, report: Option<&Path>) -> Result<Stopped> {
        let start = Instant::now();
        let mut written = None;
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGINT) };
        let mut peak_rss = self.peak_rss()?;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("wait for memtrace")? {
                break status;
            }
            ensure!(start.elapsed() < PATIENCE, "memtrace did not end");
            if written.is_none() && report.is_some_and(Path::exists) {
                written = Some(start.elapsed());
            }
            // A process that is just ending has no memory any more.
            peak_rss = self.peak_rss().unwrap_or_default().max(peak_rss);
            thread::sleep(Duration::from_millis(1));
        };
        let after = start.elapsed();
        ensure!(status.success(), "memtrace ended with {status}: {}", self.errors.rest());
        Ok(Stopped { after, written, peak_rss })
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It has ended already, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn field(info: &str, name: &str) -> Option<u64> {
    let mut values = info.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next()?.trim().parse().ok()
}
