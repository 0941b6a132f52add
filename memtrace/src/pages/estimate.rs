//! What of the memory of a process that has ended was probably resident, and whose it was. Nobody can
//! look any more; what was mapped and not given back is divided by how likely it was in memory.

use std::collections::BTreeMap;

use memtrace_abi::{mapping::Range, pages::mapped};

use super::{Mapped, Owner, Owners, PAGE, ranges::gaps};

/// How likely memory was resident, most likely first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likelihood {
    /// It was seen to be touched, or to be there.
    Touched,
    /// Pages of the same mapping on both sides of it were, or a touch stands for it.
    Between,
    /// Some other page of the mapping was.
    Beside,
    /// It was mapped, and no touch was seen.
    Mapped,
}

/// What bytes have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Whether it has no file and is nobody else's.
    pub is_anonymous: bool,
    /// How likely it was resident.
    pub likelihood: Likelihood,
    /// Whose it would be.
    pub owner: Owner,
}

impl Owners {
    /// All memory that may be resident, in bytes.
    #[must_use]
    pub fn pieces(&self) -> BTreeMap<Piece, u64> {
        let mut pieces = BTreeMap::new();
        let mut add = |range: Range, likelihood, owner| {
            for (part, is_anonymous) in self.by_backing(range) {
                let piece = Piece { is_anonymous, likelihood, owner };
                *pieces.entry(piece).or_default() += part.end - part.start;
            }
        };
        for (range, owner) in self.recorded() {
            add(range, Likelihood::Touched, owner);
        }
        for (range, owner) in self.stood_for() {
            add(range, Likelihood::Between, owner);
        }
        let mapped = self.mapped.iter();
        let untouched = mapped.flat_map(|(mapping, value)| self.untouched(mapping, value));
        for (gap, likelihood, owner) in untouched {
            let returned = self.returned.within(gap).map(|(part, ())| part);
            for part in gaps(gap, returned) {
                add(part, likelihood, owner);
            }
        }
        pieces
    }

    /// The parts of a range, and whether they are anonymous memory.
    fn by_backing(&self, range: Range) -> Vec<(Range, bool)> {
        let is_anonymous = |value: Mapped| value.purpose & mapped::ANONYMOUS > 0;
        let made = self.mapped.within(range).map(|(part, value)| (part, is_anonymous(value)));
        let mut parts: Vec<_> = made.collect();
        parts.extend(self.shared.within(range).map(|(part, ())| (part, false)));
        parts.sort_by_key(|(part, _)| part.start);
        let others = gaps(range, parts.iter().map(|(part, _)| *part));
        parts.extend(others.into_iter().map(|part| (part, true)));
        parts
    }

    /// In mappings that nobody was seen to make: the pages before each touch that it stands for. Most
    /// memory is touched from its beginning to its end.
    fn stood_for(&self) -> Vec<(Range, Owner)> {
        let (mut end, mut parts) = (0, Vec::new());
        for (range, touch) in self.touched.iter() {
            let reach = u64::from(touch.stands_for - 1).saturating_mul(PAGE);
            let before =
                Range { start: range.start.saturating_sub(reach).max(end), end: range.start };
            end = range.end;
            let Some(stack) = touch.stack else { continue };
            let made = self.mapped.within(before).map(|(part, _)| part);
            // Only what reaches the touch is of its mapping.
            let nearest = gaps(before, made).pop().filter(|part| part.end == range.start);
            parts.extend(nearest.map(|part| (part, Owner::Nearest(stack))));
        }
        parts
    }

    /// What nobody was seen to touch of a mapping.
    fn untouched(&self, mapping: Range, value: Mapped) -> Vec<(Range, Likelihood, Owner)> {
        let touched: Vec<_> = self.touched.within(mapping).map(|(part, _)| part).collect();
        let inner =
            touched.first().zip(touched.last()).map(|(first, last)| (first.end, last.start));
        let likelihood = |gap: &Range| match inner {
            Some((start, end)) if start <= gap.start && gap.end <= end => Likelihood::Between,
            Some(_) => Likelihood::Beside,
            None => Likelihood::Mapped,
        };
        // Who reserves memory, or makes a stack for a thread, takes far more than is needed.
        let is_filled = value.purpose & mapped::FILLED > 0;
        let untouched = gaps(mapping, touched.iter().copied()).into_iter();
        let untouched = untouched.map(|gap| {
            let owner = self.nearest(gap, mapping).unwrap_or(Owner::Mapped(value.stack));
            (gap, likelihood(&gap), owner)
        });
        untouched.filter(|(_, likely, _)| is_filled || *likely == Likelihood::Between).collect()
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::pages::{Event, kind};

    use super::*;

    fn page(number: u64) -> u64 {
        0x1_0000 + number * PAGE
    }

    fn event(kind: u32, first: u64, count: u64, stack: u64, detail: u64) -> Event {
        Event { kind, start: page(first), size: count * PAGE, stack, detail, ..Event::default() }
    }

    fn pieces(events: &[Event]) -> Vec<(Likelihood, Owner, u64)> {
        let mut owners = Owners::default();
        for event in events {
            owners.apply(event);
        }
        let pieces = owners.pieces().into_iter();
        pieces.map(|(piece, bytes)| (piece.likelihood, piece.owner, bytes / PAGE)).collect()
    }

    const FILLED: u64 = mapped::ANONYMOUS | mapped::FILLED;

    #[test]
    fn what_lies_between_touches_is_likelier_than_what_lies_beside_them() {
        let touches = [event(kind::TOUCHED, 2, 0, 7, 1), event(kind::TOUCHED, 8, 0, 8, 1)];
        let map = event(kind::MAPPED, 0, 20, 1, FILLED);
        assert_eq!(
            pieces(&[map, touches[0], touches[1], event(kind::MAPPED, 30, 4, 2, FILLED)]),
            [
                (Likelihood::Touched, Owner::Touched(7), 1),
                (Likelihood::Touched, Owner::Touched(8), 1),
                (Likelihood::Between, Owner::Nearest(7), 5),
                (Likelihood::Beside, Owner::Nearest(7), 2),
                (Likelihood::Beside, Owner::Nearest(8), 11),
                (Likelihood::Mapped, Owner::Mapped(2), 4),
            ]
        );
    }

    #[test]
    fn what_was_given_back_or_only_reserved_is_not_resident() {
        let map = event(kind::MAPPED, 0, 20, 1, FILLED);
        let reserved = event(kind::MAPPED, 50, 20, 1, mapped::ANONYMOUS);
        let returned = event(kind::DISCARDED, 5, 10, 0, 0);
        let touch = event(kind::TOUCHED, 6, 0, 3, 1);
        assert_eq!(
            pieces(&[map, returned, touch, reserved]),
            [
                (Likelihood::Touched, Owner::Touched(3), 1),
                (Likelihood::Beside, Owner::Nearest(3), 10)
            ]
        );
        assert_eq!(pieces(&[map, event(kind::UNMAPPED, 0, 20, 0, 0)]), []);
    }

    #[test]
    fn a_touch_in_an_older_mapping_stands_for_those_before_it() {
        let touch = event(kind::TOUCHED, 9, 0, 3, 4);
        assert_eq!(
            pieces(&[touch]),
            [
                (Likelihood::Touched, Owner::Touched(3), 1),
                (Likelihood::Between, Owner::Nearest(3), 3)
            ]
        );
    }
}
