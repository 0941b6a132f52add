//! What memtrace costs on this machine: measures, and prints tables in Markdown. All figures of a
//! table are from one run, so that their ratios can be trusted where they themselves depend on the day.
//!
//! `cargo xtask bench` prepares the arguments, starts this as root, and draws the charts.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is what the user asked for")]
#![expect(
    clippy::cast_precision_loss,
    reason = "what is measured is exact to three digits at best"
)]

#[path = "../../../xtask/src/bench/figures.rs"]
mod figures;
mod lines;
mod machine;
mod overhead;
mod probes;
mod scale;
mod statistics;
mod tracing;
mod unwind;
mod worker;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};

use self::figures::Figure;

/// What the caller has prepared.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    what: What,
    /// The program that is measured.
    #[arg(long)]
    memtrace: PathBuf,
    /// An interpreter for simple workloads.
    #[arg(long)]
    python: PathBuf,
    /// An interpreter with `NumPy`, pandas and `PyArrow`.
    #[arg(long)]
    python_with_libraries: Option<PathBuf>,
    /// `tests/workloads`.
    #[arg(long)]
    workloads: PathBuf,
    /// A folder with the compiled workloads, where charts and what tools record may be put.
    #[arg(long)]
    folder: PathBuf,
    /// Fewer rounds and smaller sizes.
    #[arg(long)]
    quick: bool,
    /// Of the tools of `overhead`, those with this in their name, and none, in all rounds.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// What empty programs and memtrace add to a pair of malloc and free; attaching.
    Probes,
    /// What memtrace and other tools do to four workloads.
    Overhead,
    /// How costs grow with processes, allocations, stacks and files.
    Scale,
    /// What a frame costs, and what a table costs.
    Unwind,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    println!("{}", machine::heading());
    match arguments.what {
        What::Probes => probes::run(&arguments),
        What::Overhead => overhead::run(&arguments),
        What::Scale => scale::run(&arguments),
        What::Unwind => unwind::run(&arguments),
    }
}

impl Arguments {
    /// A file of `tests/workloads`.
    fn workload(&self, name: &str) -> PathBuf {
        self.workloads.join(name)
    }

    /// A workload in C, compiled to a library.
    fn library(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The interpreter with libraries, if there is one, or else the other.
    fn best_python(&self) -> &Path {
        self.python_with_libraries.as_deref().unwrap_or(&self.python)
    }

    /// `pairs.py`, ready to make pairs of malloc and free.
    fn pairs(&self) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.workload("pairs.py")).arg(self.library("pairs.so"));
        command
    }

    /// Leaves a figure where the caller draws it.
    fn leave(&self, figure: &Figure) -> Result<()> {
        let path = self.folder.join(format!("{}.json", figure.name));
        let text = serde_json::to_vec(figure).context("write a figure as JSON")?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// For this long after attaching, memtrace has the kernel time its programs, which costs, too.
const SETTLED: Duration = Duration::from_secs(3);

/// Progress for whoever waits.
fn say(line: &str) {
    eprintln!("bench: {line}");
}
