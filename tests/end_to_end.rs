//! memtrace on real processes and the running kernel. Needs root: `cargo xtask test`.

mod support;

/// Bytes and counts of C programs with known answers.
mod accounting;
/// Everything that cannot work is refused, with a hint.
mod bad_input;
/// What a user sees.
mod cli;
/// Commands that memtrace starts.
mod command;
/// Bytes per line of Python programs with known answers.
mod python;
/// Whatever happens to memtrace, the target goes on.
mod safety;
