//! Microseconds of a frame, by the kernel's own statistics: how much longer the programs run for
//! each frame that a stack has more.

use anyhow::{Context as _, Result};
use memtrace::kernel::{Kernel, Options};

use crate::{Arguments, statistics::slope, tracing::Tracing, worker::Worker};

/// Frames more. A remembered walk has room for so many.
const DEPTHS: [u32; 3] = [0, 10, 20];
/// Measurements of each kind; the least counts, since everything that disturbs adds.
const TRIALS: usize = 20;
/// Pairs of malloc and free in a measurement.
const PAIRS: u32 = 2_000;
/// With one stack, walks are remembered; more stacks than memtrace remembers of a thread take turns.
const STACKS: [(u32, &str); 2] =
    [(64, "searched in tables"), (1, "the same as in the thread's last walks")];

/// Measures and prints.
pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder for a cache")?;
    let mut worker = Worker::start(&mut arguments.pairs())?;
    let options = Options { max_live: 1024, max_stacks: 1024, max_rows: 2, sample_interval: 0 };
    let kernel = Kernel::load(&options)?;
    let tracing = Tracing::attach(&arguments.memtrace, &[worker.pid()], folder.path(), &[])?;
    // For all programs of the machine, memtrace's included, until it is dropped.
    let _timing = kernel.time_programs()?;
    println!("Kernel time of memtrace's programs for a frame, by their run-time statistics:\n");
    println!("| | native frame | Python frame | a whole pair of malloc and free |");
    println!("|---|---:|---:|---:|");
    for (stacks, name) in STACKS {
        let mut time = |python, native| pair(&tracing, &mut worker, [stacks, python, native]);
        let mut native = Vec::new();
        let mut python = Vec::new();
        for depth in DEPTHS {
            native.push((f64::from(depth), time(0, depth)?));
            python.push((f64::from(depth), time(depth, 0)?));
        }
        let whole = native[0].1.min(python[0].1) / 1e3;
        let (native, python) = (slope(&native) / 1e3, slope(&python) / 1e3);
        println!("| {name} | {native:.3} us | {python:.3} us | {whole:.2} us |");
    }
    println!(
        "\nThe pair has a stack of 5 Python frames, and the native frames between and below.\n"
    );
    tracing.stop().map(drop)
}

/// Nanoseconds that the programs run for a pair, at best; `shape`: stacks in turn, Python and
/// native frames more.
fn pair(tracing: &Tracing, worker: &mut Worker, shape: [u32; 3]) -> Result<f64> {
    let [stacks, python, native] = shape;
    let mut best = f64::INFINITY;
    for _ in 0..TRIALS {
        let before = tracing.program_time()?;
        worker.ask(&format!("{PAIRS} {stacks} {python} {native}"))?;
        let nanoseconds = tracing.program_time()?.saturating_sub(before);
        best = best.min(nanoseconds as f64 / f64::from(PAIRS));
    }
    Ok(best)
}
