//! Heaps of a process, read without its help.

mod memory;

pub use memory::Memory;
