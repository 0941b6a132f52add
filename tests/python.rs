//! Python programs with known answers, in every interpreter that stands on the machine.

/// Stacks that reach the thread's first frame.
mod complete;
/// Bytes per line.
mod lines;
