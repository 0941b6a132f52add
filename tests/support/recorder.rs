//! `memtrace oom` under test.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Stdio},
};

use super::{memtrace, observe::wait_until, report::Report};

/// A recorder; killed when dropped.
pub struct Recorder {
    child: Child,
    errors: BufReader<ChildStderr>,
    said: String,
    /// Where its reports go.
    pub folder: PathBuf,
}

/// The files of a report.
pub const FILES: [&str; 6] =
    ["summary.txt", "report.json", "live.folded", "live.svg", "timeline.svg", "recording.memtrace"];

impl Recorder {
    /// Starts it and waits until it records. It records every allocation, whatever that costs.
    pub fn start(folder: &Path, scope: &[&str]) -> Self {
        let mut child = memtrace::command()
            .args(["oom", "--verbose", "--sample", "1", "--max-overhead", "unlimited"])
            .arg("--output-dir")
            .arg(folder)
            .args(scope)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("memtrace starts");
        let errors = BufReader::new(child.stderr.take().expect("was piped"));
        let said = String::new();
        let mut recorder = Self { child, errors, said, folder: folder.to_owned() };
        recorder.expect("memtrace: waiting for kills");
        recorder
    }

    /// Reads what it says up to a line that begins like this, unless it has said so already.
    pub fn expect(&mut self, wanted: &str) {
        while !self.said.lines().any(|line| line.starts_with(wanted)) {
            let size = self.errors.read_line(&mut self.said).expect("memtrace writes");
            assert!(size > 0, "memtrace ended without saying {wanted}: {}", self.said);
        }
    }

    /// Waits until it traces these processes.
    pub fn expect_traced(&mut self, pids: &[u32]) {
        for pid in pids {
            self.expect(&format!("memtrace: tracing process {pid} "));
        }
    }

    /// The names of the reports about kills.
    pub fn reports(&self) -> Vec<String> {
        reports(&self.folder)
    }

    /// Waits for a report about the kill of a process, and reads it.
    pub fn report(&self, pid: u32) -> (PathBuf, Report) {
        let suffix = format!("-{pid}");
        let find = || self.reports().into_iter().find(|name| name.ends_with(&suffix));
        wait_until("the report of a kill", || find().is_some());
        let folder = self.folder.join(find().expect("it was just there"));
        let report = Report::read(&folder.join("report.json"));
        (folder, report)
    }

    /// Sends a signal to it.
    pub fn signal(&self, signal: i32) {
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Ends it as Ctrl-C does; returns what it said.
    pub fn stop(mut self) -> String {
        self.signal(libc::SIGINT);
        self.errors.read_to_string(&mut self.said).expect("memtrace writes");
        assert!(self.child.wait().expect("memtrace ends").success(), "{}", self.said);
        std::mem::take(&mut self.said)
    }

    /// Kills it, as nothing can be done against.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("memtrace ends");
    }

    /// Its own resident memory at most so far, in bytes.
    pub fn highest_resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        1024 * kib.expect("a number")
    }
}

/// The names of the reports about kills in a folder.
pub fn reports(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it can be listed").file_name());
    let names = names.map(|name| name.into_string().expect("names are plain"));
    let mut names: Vec<_> =
        names.filter(|name| !name.starts_with('.') && !name.contains("-ahead")).collect();
    names.sort();
    names
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // It has ended already, unless the test failed or wants it so.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
