//! memtrace: which lines hold the memory of a running Python process.

pub mod attach;
pub mod cli;
pub mod doctor;
pub mod kernel;
pub mod objects;
pub mod output;
pub mod process;
pub mod profile;
pub mod python;
pub mod recording;
pub mod report;
pub mod session;
pub mod symbolize;
pub mod unwind;
