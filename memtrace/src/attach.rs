//! Where to listen: which functions of a file allocate or release memory, and at which of their
//! instructions a probe is cheap. Pure over the bytes of ELF files for x86-64; knows no process
//! and no kernel object.

pub mod allocators;
pub mod plan;
pub mod site;
pub mod stepping;
pub mod symbols;
mod wanted;
