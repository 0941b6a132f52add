//! What memtrace and other tools do to four workloads: by how much the workloads' own time grows.

mod attached;
mod rounds;
mod table;
mod tools;

use anyhow::Result;

use crate::Arguments;

/// A workload of `workloads/overhead.py`.
struct Workload {
    /// Its name there.
    name: &'static str,
    /// Its name for readers.
    title: &'static str,
    /// `PYTHONMALLOC`.
    allocator: &'static str,
}

const WORKLOADS: [Workload; 4] = [
    Workload { name: "small_temporaries", title: "NumPy temporaries, 4 KiB", allocator: "default" },
    Workload {
        name: "large_temporaries",
        title: "NumPy temporaries, 64 MiB",
        allocator: "default",
    },
    Workload { name: "objects", title: "small Python objects", allocator: "default" },
    // Small objects are mallocs as well then, as users are told to have it who want to see them.
    Workload { name: "frames", title: "pandas, PYTHONMALLOC=malloc", allocator: "malloc" },
];

/// Measures, and prints the table; takes about forty minutes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let tools = tools::wanted(arguments);
    let measured = rounds::measure(arguments, &tools);
    table::print(&measured);
    arguments.leave(&table::figure(&measured))
}
