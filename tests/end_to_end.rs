//! memtrace on real processes and the running kernel. Needs root: `cargo xtask test`.
#![allow(clippy::print_stdout, reason = "the figures of a run are worth seeing")]
#![allow(clippy::cast_precision_loss, reason = "shares and means need no more precision")]

mod support;

/// Bytes and counts of C programs with known answers.
mod accounting;
/// Everything that cannot work is refused, with a hint.
mod bad_input;
/// What probing may cost.
mod budget;
/// What a user sees.
mod cli;
/// Commands that memtrace starts.
mod command;
/// What resident memory consists of.
mod decomposition;
/// Full tables, a late loader, targets that change all the time.
mod faults;
/// Heaps of known shapes.
mod heap;
/// What the verifier says of the kernel object.
mod kernel_object;
/// What a stuck process holds.
mod objects;
/// What is left of a process that was killed.
mod oom;
/// Whose resident memory is.
mod pages;
/// Bytes per line of Python programs with known answers.
mod python;
/// What is alive at the peak, and what only adds up.
mod radar;
/// Whatever happens to memtrace, the target goes on.
mod safety;
/// Real packages in pools and clusters, and the questions that their users have.
mod scenarios;
/// Processes that are found rather than named.
mod selection;
/// Processes at one moment.
mod snapshot;
/// Memory over time.
mod timeline;
/// Processes and their children.
mod trees;
/// Allocators that are linked into wheels.
mod wheels;
