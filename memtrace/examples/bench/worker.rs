//! A program that says when it is ready, works when it is told to, answers with a number, and ends
//! with its input.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::lines::Lines;

/// Longest that starting or ending may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest that work may take, however slow a tool makes it.
const WORK: Duration = Duration::from_mins(5);

/// The program; killed with all of its children when dropped.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines,
}

impl Worker {
    /// Starts a program, and waits until it is ready.
    pub fn start(command: &mut Command) -> Result<Self> {
        let worker = Self::launch(command)?;
        worker.wait_until_ready()?;
        Ok(worker)
    }

    /// Starts a program. The tools that start workloads have words of their own.
    pub fn launch(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        let input = child.stdin.take();
        let output = Lines::of(child.stdout.take().context("listen to a workload")?);
        Ok(Self { child, input, output })
    }

    /// Waits until the work can begin.
    pub fn wait_until_ready(&self) -> Result<()> {
        let ready = |line: &str| (line == "ready").then_some(());
        self.output.find(PATIENCE, ready).context("wait for a workload to be ready")
    }

    /// Its process id: that of the workload itself only if no tool has started it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it to work; returns the number that it answers with.
    pub fn ask(&mut self, what: &str) -> Result<f64> {
        let input = self.input.as_mut().context("talk to a workload that was told to end")?;
        writeln!(input, "{what}").context("talk to a workload")?;
        let number = |line: &str| line.parse().ok();
        self.output.find(WORK, number).context("wait for a workload's answer")
    }

    /// Lets it end, and waits for that.
    pub fn end(mut self) -> Result<()> {
        drop(self.input.take());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().context("wait for a workload to end")? {
                ensure!(status.success(), "ended with {status}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("did not end within {} s", PATIENCE.as_secs())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Once waited for, the number could be somebody else's.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            // SAFETY: the call takes two integers; the group is the child's own.
            unsafe { libc::kill(-self.child.id().cast_signed(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}
