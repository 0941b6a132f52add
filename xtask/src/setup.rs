//! `cargo xtask setup`: installs what is missing, and says one line for each thing it finds or does.

mod apt;
mod environment;
mod interpreter;
mod linker;
mod toolchain;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{command, say};
use environment::Environment;
use interpreter::Interpreter;

/// Installs what building and the demo need.
pub fn run() -> Result<()> {
    demo_python().map(drop)
}

/// Installs what building needs.
pub fn build_tools() -> Result<()> {
    toolchain::sources()?;
    linker::prepare()
}

/// Installs what formatting and clippy need on both targets.
pub fn lint_tools() -> Result<()> {
    toolchain::sources()?;
    toolchain::lints()
}

/// Installs what building and the demo need; returns the Python with NumPy.
pub fn demo_python() -> Result<PathBuf> {
    build_tools()?;
    let python = Environment::new("target/python", Interpreter::usual()?)?;
    python.prepare(&["numpy"])?;
    Ok(python.python())
}

const BENCH_PYTHON: &str = "target/bench-python";

/// The Pythons that benchmarks run their workloads with.
pub struct BenchPythons {
    /// Any.
    pub plain: PathBuf,
    /// One with NumPy, pandas and `PyArrow`, if they could be had.
    pub with_libraries: Option<PathBuf>,
}

/// Installs what the benchmarks need.
pub fn bench_pythons() -> Result<BenchPythons> {
    build_tools()?;
    let usual = Interpreter::usual()?;
    let environment = Environment::new(BENCH_PYTHON, usual.clone())?;
    let with_libraries = match environment.prepare(&["numpy", "pandas", "pyarrow"]) {
        Ok(()) => Some(environment.python()),
        Err(error) => {
            say(&format!("attaching to large libraries will not be measured: {error:#}"));
            None
        }
    };
    Ok(BenchPythons { plain: usual.path, with_libraries })
}

/// Installs the tools that memtrace is compared with. The benchmark itself says which are missing.
pub fn peers(pythons: &BenchPythons) {
    for tool in ["heaptrack", "bpftrace"] {
        optional_tool(tool);
    }
    if pythons.with_libraries.is_some() {
        let usual = Interpreter::usual();
        let environment = usual.and_then(|usual| Environment::new(BENCH_PYTHON, usual));
        if let Err(error) = environment.and_then(|environment| environment.prepare(&["memray"])) {
            say(&format!("memray: not to be had: {error:#}"));
        }
    }
}

/// The Pythons that tests run their workloads with.
pub struct TestPythons {
    /// The one that also has memray.
    pub main: PathBuf,
    /// One for each minor version and kind of linking found on the machine, the main one included.
    pub all: Vec<PathBuf>,
    /// One whose packages bring allocators of their own.
    pub wheels: PathBuf,
    /// One with the packages of pools and clusters.
    pub scenarios: PathBuf,
}

/// Installs what the tests need.
pub fn test_pythons() -> Result<TestPythons> {
    build_tools()?;
    for tool in TEST_TOOLS {
        optional_tool(tool);
    }
    let usual = Interpreter::usual()?;
    let main = Environment::new("target/python", usual.clone())?;
    main.prepare(&["numpy"])?;
    if let Err(error) = main.prepare(&["memray"]) {
        say(&format!("memray: not to be had: {error:#}"));
    }
    let wheels = Environment::new("target/wheels", usual.clone())?;
    wheels.prepare(&["pyarrow", "polars", "duckdb"])?;
    let scenarios = Environment::new("target/scenarios", usual.clone())?;
    scenarios.prepare(&["matplotlib", "rdkit", "dask", "distributed", "pandas", "pyarrow"])?;
    let mut all = vec![main.python()];
    for interpreter in Interpreter::others(&usual) {
        let directory = Path::new("target/pythons").join(interpreter.kind());
        let environment = Environment::new(directory, interpreter)?;
        environment.prepare(&["numpy"])?;
        all.push(environment.python());
    }
    Ok(TestPythons {
        main: main.python(),
        all,
        wheels: wheels.python(),
        scenarios: scenarios.python(),
    })
}

/// Programs of the tests, by the names of their packages: stacks are compared with gdb's, and C++
/// is traced. The tests say so themselves if one is missing.
const TEST_TOOLS: [&str; 2] = ["gdb", "g++"];

fn optional_tool(tool: &str) {
    if command::answer(Command::new(tool).arg("--version")).is_some() {
        return say(&format!("{tool}: present"));
    }
    if let Err(error) = apt::install(&[tool]) {
        say(&format!("{tool}: {error:#}"));
    }
}
