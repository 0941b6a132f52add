//! What a reader of figures must know of the machine that they are from.

use std::{fs, thread};

use memtrace::process::host;

/// Kernel and processor, in a line of Markdown.
pub fn heading() -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    format!("Linux {}, {}, {processors} processors.\n", host::kernel(), processor())
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| "unknown processor".to_owned(), |(_, name)| name.to_owned())
}
