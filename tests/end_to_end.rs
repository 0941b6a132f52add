//! memtrace on real processes and the running kernel. Needs root: `cargo xtask test`.

mod support;

/// Bytes and counts of C programs with known answers.
mod accounting;
/// What the verifier says of the kernel object.
mod kernel_object;
/// Bytes per line of Python programs with known answers.
mod python;
