//! The live blocks that pages lie in.

use memtrace_abi::mapping::Range;

use super::PAGE;

/// Pages in live blocks, by address, each with the stack that allocated the block. A page belongs to
/// the block that its first byte is in.
#[derive(Clone, Debug, Default)]
pub struct Holders(Vec<(Range, u64)>);

impl FromIterator<(Range, u64)> for Holders {
    /// The blocks may come in any order. Of blocks that overlap, as those of which one was freed unseen,
    /// the first has the pages.
    fn from_iter<T: IntoIterator<Item = (Range, u64)>>(blocks: T) -> Self {
        let blocks = blocks.into_iter();
        let mut held: Vec<_> =
            blocks.filter_map(|(block, stack)| Some((pages(block)?, stack))).collect();
        held.sort_unstable_by_key(|(pages, stack)| (pages.start, pages.end, *stack));
        let mut end = 0;
        held.retain_mut(|(pages, _)| {
            pages.start = pages.start.max(end);
            end = end.max(pages.end);
            pages.start < pages.end
        });
        Self(held)
    }
}

impl Holders {
    /// The parts that lie within a range.
    pub fn within(&self, range: Range) -> impl Iterator<Item = (Range, u64)> {
        let first = self.0.partition_point(|(pages, _)| pages.end <= range.start);
        let found = self.0[first..].iter().take_while(move |(pages, _)| pages.start < range.end);
        found.map(move |(pages, stack)| {
            (Range { start: pages.start.max(range.start), end: pages.end.min(range.end) }, *stack)
        })
    }
}

/// Those whose first byte is in the block.
fn pages(block: Range) -> Option<Range> {
    let start = block.start.checked_next_multiple_of(PAGE)?;
    let end = block.end.checked_next_multiple_of(PAGE)?;
    (start < end).then_some(Range { start, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_blocks_that_overlap_the_first_has_the_pages() {
        let block = |first: u64, last: u64| Range { start: first * PAGE, end: last * PAGE };
        let holders: Holders =
            [(block(8, 12), 2), (block(2, 10), 1), (block(3, 5), 3), (block(11, 13), 4)]
                .into_iter()
                .collect();
        let pages: Vec<_> = holders
            .within(block(4, 20))
            .map(|(it, stack)| (it.start / PAGE, it.end / PAGE, stack))
            .collect();
        assert_eq!(pages, [(4, 10, 1), (10, 12, 2), (12, 13, 4)]);
        assert_eq!(holders.within(block(0, 2)).count(), 0);
    }

    #[test]
    fn blocks_within_a_page_hold_it_if_it_begins_in_them() {
        let holders: Holders = [
            (Range { start: PAGE + 1, end: 2 * PAGE }, 1),
            (Range { start: 2 * PAGE - 1, end: 2 * PAGE + 1 }, 2),
        ]
        .into_iter()
        .collect();
        let all = Range { start: 0, end: u64::MAX };
        assert_eq!(holders.within(all).map(|(_, stack)| stack).collect::<Vec<_>>(), [2]);
    }
}
