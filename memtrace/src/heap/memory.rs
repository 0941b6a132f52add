//! What a heap is read through. Knows no process: tests read from bytes.

use memtrace_abi::mapping::Range;

/// The memory of a process, or something that looks like it.
pub trait Memory {
    /// Fills `buffer` from `address` on, up to the first byte that is not in memory or may not be
    /// read, and says how many bytes that are.
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize;

    /// Whether each page of the range, which is page-aligned, is in memory; fewer than the range
    /// has if not all could be asked for.
    fn resident(&self, range: Range) -> Vec<bool>;
}
