//! What probes, unwinding and attaching cost on this machine, as a table in Markdown: all figures
//! from one run, so that their ratios can be trusted where they themselves depend on the day.
//!
//! `cargo xtask bench probes` prepares the arguments and starts it as root.

mod attaching;
mod empty;
mod pairs;
mod table;
mod tracing;

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result};

/// What the caller has prepared.
struct Arguments {
    /// The program that is measured.
    memtrace: PathBuf,
    /// An interpreter for `workloads/pairs.py`.
    python: PathBuf,
    /// `tests/workloads`.
    workloads: PathBuf,
    /// `workloads/pairs.c`, compiled.
    library: PathBuf,
    /// An interpreter with NumPy, pandas and `PyArrow`.
    python_with_libraries: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse(env::args_os().skip(1))?;
    let pairs = pairs::measure(&arguments)?;
    let attaching = attaching::measure(&arguments)?;
    table::print(&pairs, attaching.as_ref());
    Ok(())
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Self> {
        let mut path = |what| words.next().map(PathBuf::from).context(what);
        Ok(Self {
            memtrace: path("started without memtrace: run cargo xtask bench probes")?,
            python: path("started without a Python")?,
            workloads: path("started without the workloads")?,
            library: path("started without the library of pairs")?,
            python_with_libraries: path("").ok(),
        })
    }
}
