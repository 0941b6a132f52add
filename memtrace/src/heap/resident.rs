//! Which pages are in memory.

use memtrace_abi::mapping::Range;

use super::memory::{Memory, PAGE};

/// Bytes of addresses that are asked for at once.
const STEP: u64 = 256 << 20;

/// Which pages of a range are in memory, one bit each.
#[derive(Clone, Debug, Default)]
pub(super) struct Resident {
    /// Number of the first page.
    first: u64,
    bits: Vec<u64>,
}

impl Resident {
    /// Asks for all pages that a range touches; those that cannot be asked for count as absent.
    pub(super) fn read(memory: &impl Memory, range: Range) -> Self {
        let first = range.start / PAGE;
        let mut bits = Vec::new();
        for step in steps(range) {
            let pages = memory.resident(step);
            let words = pages.chunks(u64::BITS as usize);
            bits.extend(words.map(|word| {
                let numbers = word.iter().enumerate().filter(|(_, is_here)| **is_here);
                numbers.fold(0, |bits, (number, _)| bits | 1 << number)
            }));
            if (pages.len() as u64) < (step.end - step.start) / PAGE {
                break;
            }
        }
        Self { first, bits }
    }

    /// Whether the page that holds the address is one of them.
    pub(super) fn holds(&self, address: u64) -> bool {
        let number = (address / PAGE).checked_sub(self.first);
        number.is_some_and(|number| {
            let word = self.bits.get((number / 64) as usize);
            word.is_some_and(|word| word >> (number % 64) & 1 == 1)
        })
    }
}

/// Bytes of the pages of a range that are in memory.
pub(super) fn resident_bytes(memory: &impl Memory, range: Range) -> u64 {
    let count = |step| memory.resident(step).iter().filter(|is_here| **is_here).count() as u64;
    steps(range).map(count).sum::<u64>() * PAGE
}

/// The pages of a range, piece by piece.
fn steps(range: Range) -> impl Iterator<Item = Range> {
    let start = range.start / PAGE * PAGE;
    let end = range.end.checked_next_multiple_of(PAGE).unwrap_or(range.end / PAGE * PAGE);
    let starts = (start..end).step_by(STEP as usize);
    starts.map(move |start| Range { start, end: end.min(start.saturating_add(STEP)) })
}

#[cfg(test)]
mod tests {
    use super::{super::memory::tests::Pages, *};

    #[test]
    fn pages_are_told_apart() {
        let mut pages = Pages::default();
        let last = STEP + 70 * PAGE;
        for address in [2 * PAGE, 66 * PAGE, STEP + 3 * PAGE, last] {
            pages.word(address, 1);
        }
        let range = Range { start: 2 * PAGE + 8, end: last + 8 };
        let resident = Resident::read(&pages, range);
        let here = (0..2 * STEP).step_by(PAGE as usize).filter(|page| resident.holds(*page));
        assert_eq!(here.collect::<Vec<_>>(), [2 * PAGE, 66 * PAGE, STEP + 3 * PAGE, last]);
        assert_eq!(resident_bytes(&pages, range), 4 * PAGE);
        assert_eq!(resident_bytes(&pages, Range { start: u64::MAX - 5, end: u64::MAX }), 0);
    }
}
