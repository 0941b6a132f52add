//! memtrace under test.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

use super::report::Report;

/// A memtrace that is tracing.
pub struct Tracing {
    child: Child,
    errors: BufReader<ChildStderr>,
    folder: tempfile::TempDir,
}

impl Tracing {
    /// Attaches to a process and waits until everything is recorded.
    pub fn attach(pid: u32) -> Self {
        Self::attach_with(pid, &[])
    }

    /// As [`Tracing::attach`], with more options. The probes stay, whatever they cost.
    pub fn attach_with(pid: u32, options: &[&str]) -> Self {
        let unlimited = ["--max-overhead", "unlimited"];
        Self::attach_within(pid, &[&unlimited, options].concat())
    }

    /// As [`Tracing::attach`], with more options, and a limit for what the probes cost.
    pub fn attach_within(pid: u32, options: &[&str]) -> Self {
        let mut tracing = Self::start(&pid.to_string(), options);
        tracing.expect("memtrace: tracing process");
        tracing
    }

    /// Attaches to several processes, their ids separated by commas.
    pub fn attach_all(pids: &str) -> Self {
        let mut tracing = Self::start(pids, &["--max-overhead", "unlimited"]);
        for _ in pids.split(',') {
            tracing.expect("memtrace: tracing process");
        }
        tracing
    }

    fn start(pids: &str, options: &[&str]) -> Self {
        Self::with(&[&["--pid", pids], options].concat())
    }

    /// Starts memtrace with these options.
    pub fn with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for reports");
        let mut child = command()
            .args(["--verbose", "--output"])
            .arg(folder.path().join("report.json"))
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("memtrace starts");
        let errors = BufReader::new(child.stderr.take().expect("was piped"));
        Self { child, errors, folder }
    }

    /// Process id of memtrace.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads what memtrace says up to a line that begins like this.
    pub fn expect(&mut self, wanted: &str) {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            let size = self.errors.read_line(&mut line).expect("memtrace writes");
            assert!(size > 0, "memtrace ended without saying {wanted}: {before}");
            if line.starts_with(wanted) {
                return;
            }
            before += &line;
        }
    }

    /// Whether memtrace has not ended.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it can be waited for").is_none()
    }

    /// Sends a signal to memtrace.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Waits for the end of memtrace.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut errors = String::new();
        self.errors.read_to_string(&mut errors).expect("memtrace writes");
        (self.child.wait().expect("memtrace ends"), errors)
    }

    /// Waits for memtrace to end by itself, and reads the report.
    pub fn end(mut self) -> Report {
        let (status, errors) = self.wait();
        assert!(status.success(), "{status}: {errors}");
        Report::read(&self.folder.path().join("report.json"))
    }

    /// Ends the tracing as Ctrl-C does, and reads the report.
    pub fn stop(self) -> Report {
        self.signal(libc::SIGINT);
        self.end()
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command that is tested.
pub fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_memtrace"))
}

/// Runs memtrace to its end.
pub fn run<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    command().args(arguments).stdin(Stdio::null()).output().expect("memtrace starts")
}
