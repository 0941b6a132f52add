//! What probes, unwinding and attaching cost.

mod attaching;
mod empty;
mod pairs;
mod table;

use anyhow::Result;

use crate::{Arguments, say};

/// Measures, and prints the tables; takes about two minutes.
pub fn run(arguments: &Arguments) -> Result<()> {
    say("pairs of malloc and free, about a minute and a half");
    let pairs = pairs::measure(arguments)?;
    say("attaching");
    let attaching = attaching::measure(arguments)?;
    table::print(&pairs, attaching.as_ref());
    Ok(())
}
