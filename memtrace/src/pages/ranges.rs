//! Values by ranges of addresses: a map of which any part can be cut out.

use std::collections::BTreeMap;

use memtrace_abi::mapping::Range;

/// Ranges that do not overlap, each with a value. Neighbours with equal values become one.
#[derive(Clone, Debug)]
pub struct Ranges<T>(BTreeMap<u64, (u64, T)>);

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Copy + PartialEq> Ranges<T> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each with its value, by address.
    pub fn iter(&self) -> impl Iterator<Item = (Range, T)> {
        self.0.iter().map(|(&start, &(end, value))| (Range { start, end }, value))
    }

    /// The one that holds an address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<(Range, T)> {
        self.last_up_to(address).filter(|(range, _)| range.contains(address))
    }

    /// The last one that begins at or below an address.
    #[must_use]
    pub fn last_up_to(&self, address: u64) -> Option<(Range, T)> {
        let (&start, &(end, value)) = self.0.range(..=address).next_back()?;
        Some((Range { start, end }, value))
    }

    /// The first one that begins at or above an address.
    #[must_use]
    pub fn first_from(&self, address: u64) -> Option<(Range, T)> {
        let (&start, &(end, value)) = self.0.range(address..).next()?;
        Some((Range { start, end }, value))
    }

    /// The parts that lie within a range.
    pub fn within(&self, range: Range) -> impl Iterator<Item = (Range, T)> {
        let first = self.at(range.start).map_or(range.start, |(first, _)| first.start);
        let end = range.end.max(first);
        let found = self.0.range(first..end);
        let parts = found.map(move |(&start, &(end, value))| {
            (Range { start: start.max(range.start), end: end.min(range.end) }, value)
        });
        parts.filter(|(part, _)| part.start < part.end)
    }

    /// Takes out whatever lies within a range, and returns it.
    pub fn cut(&mut self, range: Range) -> Vec<(Range, T)> {
        let parts: Vec<_> = self.within(range).collect();
        for (part, value) in &parts {
            let (whole, _) = self.at(part.start).expect("the part was found there");
            self.0.remove(&whole.start);
            if whole.start < part.start {
                self.0.insert(whole.start, (part.start, *value));
            }
            if part.end < whole.end {
                self.0.insert(part.end, (whole.end, *value));
            }
        }
        parts
    }

    /// Gives a range a value, whatever it had before.
    pub fn put(&mut self, range: Range, value: T) {
        if range.start >= range.end {
            return;
        }
        self.cut(range);
        let Range { mut start, mut end } = range;
        if let Some((before, _)) =
            self.last_up_to(start).filter(|(before, other)| before.end == start && *other == value)
        {
            start = before.start;
        }
        if let Some((behind, _)) =
            self.first_from(end).filter(|(behind, other)| behind.start == end && *other == value)
        {
            end = behind.end;
            self.0.remove(&behind.start);
        }
        self.0.insert(start, (end, value));
    }

    /// Gives the parts of a range that have no value one.
    pub fn fill(&mut self, range: Range, value: T) {
        let taken: Vec<_> = self.within(range).map(|(part, _)| part).collect();
        for gap in gaps(range, taken) {
            self.put(gap, value);
        }
    }
}

/// What is left of a range without its parts, which come by address.
pub fn gaps(range: Range, parts: impl IntoIterator<Item = Range>) -> Vec<Range> {
    let (mut start, mut gaps) = (range.start, Vec::new());
    let end = Range { start: range.end, end: range.end };
    for part in parts.into_iter().chain([end]) {
        if start < part.start {
            gaps.push(Range { start, end: part.start });
        }
        start = part.end;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u64, end: u64) -> Range {
        Range { start, end }
    }

    fn list(ranges: &Ranges<char>) -> Vec<(u64, u64, char)> {
        ranges.iter().map(|(range, value)| (range.start, range.end, value)).collect()
    }

    #[test]
    fn equal_neighbours_become_one() {
        let mut ranges = Ranges::default();
        ranges.put(range(0, 10), 'a');
        ranges.put(range(20, 30), 'a');
        ranges.put(range(10, 20), 'a');
        ranges.put(range(30, 40), 'b');
        assert_eq!(list(&ranges), [(0, 30, 'a'), (30, 40, 'b')]);
    }

    #[test]
    fn the_middle_can_be_cut_out() {
        let mut ranges = Ranges::default();
        ranges.put(range(0, 30), 'a');
        assert_eq!(ranges.cut(range(10, 20)), [(range(10, 20), 'a')]);
        assert_eq!(list(&ranges), [(0, 10, 'a'), (20, 30, 'a')]);
        ranges.fill(range(5, 25), 'b');
        assert_eq!(list(&ranges), [(0, 10, 'a'), (10, 20, 'b'), (20, 30, 'a')]);
        assert_eq!(ranges.at(15), Some((range(10, 20), 'b')));
        assert_eq!(ranges.at(30), None);
    }

    proptest! {
        #[test]
        fn it_is_like_an_array(
            steps in prop::collection::vec((0..4_u8, 0..64_u64, 0..64_u64, 0..3_u8), 1..60)
        ) {
            let (mut ranges, mut model) = (Ranges::default(), [None; 128]);
            for (step, start, length, value) in steps {
                let part = range(start, start + length);
                let cells = &mut model[start as usize..(start + length) as usize];
                match step {
                    0 => {
                        ranges.cut(part);
                        cells.fill(None);
                    }
                    1 => {
                        ranges.fill(part, value);
                        for cell in cells.iter_mut().filter(|cell| cell.is_none()) {
                            *cell = Some(value);
                        }
                    }
                    _ => {
                        ranges.put(part, value);
                        cells.fill(Some(value));
                    }
                }
            }
            for (address, cell) in model.iter().enumerate() {
                prop_assert_eq!(ranges.at(address as u64).map(|(_, value)| value), *cell);
            }
            let all: Vec<_> = ranges.iter().collect();
            let is_apart = |pair: &[(Range, u8)]| {
                let [(first, value), (second, other)] = *pair else { return false };
                first.end < second.start || first.end == second.start && value != other
            };
            prop_assert!(all.windows(2).all(is_apart));
        }
    }
}
