//! What memtrace and other tools do to four workloads: by how much the workloads' own time grows.

mod attached;
mod rounds;
mod table;
mod tools;

use anyhow::Result;

use crate::Arguments;

/// What `workloads/overhead.py` calls its workloads, and what readers do.
const WORKLOADS: [(&str, &str); 4] = [
    ("small_temporaries", "NumPy temporaries, 4 KiB"),
    ("large_temporaries", "NumPy temporaries, 64 MiB"),
    ("objects", "small Python objects"),
    ("frames", "pandas"),
];

/// Measures, and prints the table; takes about twelve minutes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let tools = tools::all(arguments);
    let measured = rounds::measure(arguments, &tools)?;
    table::print(&measured);
    arguments.leave(&table::figure(&measured))
}
