//! What a frame costs in the kernel, and what a file's unwind table costs memtrace.

mod frames;
mod tables;

use anyhow::Result;

use crate::{Arguments, say};

/// Measures, and prints the tables; takes about a minute.
pub fn run(arguments: &Arguments) -> Result<()> {
    say("frames");
    frames::run(arguments)?;
    say("tables");
    tables::run(arguments)
}
