//! memtrace: which lines hold the memory of a running Python process.

pub mod attach;
