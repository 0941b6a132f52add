//! Bytes per line of Python programs with known answers.
