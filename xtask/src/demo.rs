//! `cargo xtask demo`: a real flame graph of a bundled NumPy service, in one command.

use std::{
    fs,
    io::{BufRead as _, BufReader, ErrorKind},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{command, say, setup};

const WORKLOAD: &str = "tests/workloads/demo.py";
const FLAME_GRAPH: &str = "target/demo.svg";

/// A program that does not outlive this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Traces the workload for five seconds; the summary on the terminal is memtrace's own.
pub fn run() -> Result<()> {
    let mut memtrace = command::as_root(command::target_dir().join("release/memtrace"))?;
    let python = setup::demo_python()?;
    command::run(command::cargo().args(["build", "--release", "--package", "memtrace"]))?;
    let workload = start(&python)?;
    let pid = workload.0.id().to_string();
    say(&format!("{WORKLOAD}: running as process {pid}\n$ {}", shown(&pid)));
    remove_flame_graph()?;
    command::run(memtrace.args(arguments(&pid)))?;
    let flame_graph = std::path::absolute(FLAME_GRAPH).context("find the flame graph")?;
    ensure!(flame_graph.exists(), "memtrace wrote no {FLAME_GRAPH}");
    say(&format!("flame graph: {}  (open it in a browser)", flame_graph.display()));
    Ok(())
}

/// memtrace overwrites nothing, and an old graph must not pass for a new one.
fn remove_flame_graph() -> Result<()> {
    match fs::remove_file(FLAME_GRAPH) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(format!("remove {FLAME_GRAPH}"))
        }
        _ => Ok(()),
    }
}

fn arguments(pid: &str) -> [&str; 6] {
    ["--pid", pid, "--duration", "5s", "--output", FLAME_GRAPH]
}

fn shown(pid: &str) -> String {
    format!("memtrace {}", arguments(pid).join(" "))
}

/// Returns once the workload says that it has filled its memory.
fn start(python: &Path) -> Result<Running> {
    let child = Command::new(python).arg(WORKLOAD).stdout(Stdio::piped()).spawn();
    let mut running = Running(child.with_context(|| format!("start {WORKLOAD}"))?);
    let stdout = running.0.stdout.take().context("read the workload's output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).context("wait for the workload")?;
    ensure!(!line.is_empty(), "{WORKLOAD} ended before it was ready");
    Ok(running)
}
