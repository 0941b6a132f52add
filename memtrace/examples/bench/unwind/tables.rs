//! From `.eh_frame` to a table: time and size, for the files of a process with large libraries.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use memtrace::{process::Process, unwind::UnwindTable};
use object::{Object as _, ObjectSection as _};

use crate::{Arguments, worker::Worker};

/// Files that get a row; the largest.
const SHOWN: usize = 6;
/// Each table is made so often; the quickest counts.
const TRIALS: usize = 3;
/// What a row takes in the kernel, in bytes.
const ROW_BYTES: usize = 4;

/// One file, or several together.
#[derive(Default)]
struct Cost {
    name: String,
    /// Of `.eh_frame`.
    bytes: u64,
    time: Duration,
    rows: usize,
}

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Some(python) = &arguments.python_with_libraries else {
        println!("Tables were not measured: there is no Python with the libraries.");
        return Ok(());
    };
    let mut costs = Vec::new();
    for path in files(arguments, python)? {
        costs.extend(measure(&path).with_context(|| format!("measure {}", path.display()))?);
    }
    costs.sort_by_key(|cost| Reverse(cost.bytes));
    let all = Cost {
        name: format!("all {} files", costs.len()),
        bytes: costs.iter().map(|cost| cost.bytes).sum(),
        time: costs.iter().map(|cost| cost.time).sum(),
        rows: costs.iter().map(|cost| cost.rows).sum(),
    };
    println!("Making the unwind tables of a process with NumPy, pandas and PyArrow, one thread:\n");
    println!("| | .eh_frame | time | time per MB | rows | table in the kernel |");
    println!("|---|---:|---:|---:|---:|---:|");
    costs.iter().take(SHOWN).chain([&all]).for_each(print);
    Ok(())
}

fn print(cost: &Cost) {
    let megabytes = cost.bytes as f64 / 1e6;
    let milliseconds = cost.time.as_secs_f64() * 1e3;
    let table = (cost.rows * ROW_BYTES) as f64 / 1e6;
    println!(
        "| {} | {megabytes:.2} MB | {milliseconds:.1} ms | {:.1} ms | {} | {table:.2} MB |",
        cost.name,
        milliseconds / megabytes,
        cost.rows,
    );
}

/// The files whose code the process has mapped.
fn files(arguments: &Arguments, python: &Path) -> Result<Vec<PathBuf>> {
    let worker = Worker::start(Command::new(python).arg(arguments.workload("libraries.py")))?;
    let mappings = Process::open(worker.pid())?.mappings()?;
    let executables = mappings.executables();
    let paths = executables.iter().filter_map(|group| group.first());
    let paths: BTreeSet<PathBuf> = paths.map(|mapping| mapping.path.to_path_buf()).collect();
    // The vDSO is no file.
    Ok(paths.into_iter().filter(|path| path.is_absolute()).collect())
}

/// `None` for a file without call frame information.
fn measure(path: &Path) -> Result<Option<Cost>> {
    let bytes = fs::read(path).context("read it")?;
    let file: object::File<'_> = object::File::parse(&*bytes).context("parse its headers")?;
    let Some(section) = file.section_by_name(".eh_frame") else { return Ok(None) };
    let mut cost = Cost { bytes: section.size(), time: Duration::MAX, ..Cost::default() };
    for _ in 0..TRIALS {
        let start = Instant::now();
        cost.rows = UnwindTable::parse(&bytes)?.rows.len();
        cost.time = cost.time.min(start.elapsed());
    }
    cost.name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Some(cost))
}
