//! Where a thread's own data is, which C libraries put at the top of its stack: nothing else tells where
//! a stack ends when other memory has come to lie above it, in the same mapping.

use std::time::Instant;

use memtrace_abi::mapping::Range;

use crate::process::memory::{Memory, PAGE_BYTES};

/// Addresses that are searched, of each mapping.
const SEARCHED: u64 = 1 << 30;
/// Bytes that are read at once, and how often that is done.
const PIECE: usize = 1 << 20;
const MAX_PIECES: usize = 64;
/// The end of the addresses of user space.
const ADDRESS_END: u64 = 1 << 47;

/// The end of the stack at the start of a mapping; `None` if no thread's data is found in time.
pub(super) fn stack_end(memory: &Memory, range: Range, deadline: Instant) -> Option<u64> {
    let end = range.end.min(range.start.saturating_add(SEARCHED));
    let runs = memory.runs(Range { start: range.start, end }, deadline).ok()?;
    let present = runs.list.iter().filter(|run| !run.is_swapped);
    let pieces = present.flat_map(|run| {
        let Range { start, end } = run.range;
        let pieces = (start..end).step_by(PIECE);
        pieces.map(move |start| (start, (end - start).min(PIECE as u64) as usize))
    });
    let data = pieces.take(MAX_PIECES).find_map(|(start, length)| {
        let mut bytes = vec![0; length];
        let read = memory.read(start, &mut bytes).ok().filter(|_| Instant::now() < deadline)?;
        thread_pointer(start, bytes[..read].as_chunks().0)
    })?;
    // What lies above, less than a page, is its own too.
    Some((data + 1).next_multiple_of(PAGE_BYTES).min(range.end))
}

/// What the ABI of x86-64 and the compilers expect at a thread pointer: its own address, the vector of
/// thread-local storage and, at offset 40, the stack protector's random number, which is no address.
fn thread_pointer(start: u64, words: &[[u8; 8]]) -> Option<u64> {
    let places = (start..).step_by(8).zip(words.windows(6));
    let mut pointers = places.filter_map(|(address, window)| {
        let word = |index: usize| u64::from_le_bytes(window[index]);
        let has_vector = word(1) != address && (1..ADDRESS_END).contains(&word(1));
        (word(0) == address && has_vector && word(5) >= ADDRESS_END).then_some(address)
    });
    pointers.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_pointer_is_no_empty_list() {
        let canary = 0x1234_5678_9abc_de00;
        let list = [0x7f00, 0x7f00, 0, 0, 0, canary];
        let object = [0x7f30, 0x5000, 0, 0, 0, 0x5008];
        let thread = [0x7f60, 0x5000, 0x7f60, 0, 0, canary];
        let words = [list, object, thread].as_flattened().to_vec();
        let bytes = |words: &[u64]| words.iter().map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        assert_eq!(thread_pointer(0x7f00, &bytes(&words)), Some(0x7f60));
        assert_eq!(thread_pointer(0x7f00, &bytes(&words[..17])), None);
        assert_eq!(thread_pointer(0x8f00, &bytes(&words)), None);
    }
}
