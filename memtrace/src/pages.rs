//! Who touched which pages of a process, from what the kernel programs tell: pages that are touched,
//! mapped, moved and given back. Pure: which of them are in memory is known to whoever asks.
//!
//! A page belongs to the stack that touched it first, until it is given back. Not every touch is
//! told of; a page without one belongs to the live block that lies on it, else to the nearest page in
//! its mapping, and counts as estimated.

mod estimate;
mod holders;
mod ranges;

use memtrace_abi::{
    mapping::Range,
    pages::{Event, kind},
};

use self::ranges::gaps;
pub use self::{
    estimate::{Likelihood, Piece},
    holders::Holders,
    ranges::Ranges,
};

const PAGE: u64 = 4096;
/// Ranges of pages that are told apart, for each process; what comes then counts as not told of.
const MAX_RANGES: usize = 1 << 18;

/// The pages of a process, by whom they belong to.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    touched: Ranges<Touch>,
    mapped: Ranges<Mapped>,
    /// Mappings of files and of shared memory that were there before.
    shared: Ranges<()>,
    /// What was given back and has not been touched since.
    returned: Ranges<()>,
    /// Touches for which there was no room.
    dropped: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Touch {
    /// `None`: it was there before anyone looked.
    stack: Option<u64>,
    /// The kernel may have taken it: whoever touches it next owns it.
    is_offered: bool,
    /// How many touches the one that was told of stands for, itself included.
    stands_for: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mapped {
    stack: u64,
    /// What for, as `memtrace_abi::pages::mapped` has it.
    purpose: u64,
}

/// To whom resident memory belongs, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// To the stack that was seen to touch it first.
    Touched(u64),
    /// Nobody was seen to touch it; to the stack that allocated the live block there.
    Holder(u64),
    /// Nobody was seen to touch it; to the stack that touched the nearest page of the mapping.
    Nearest(u64),
    /// No page of the mapping was seen to be touched; to the stack that mapped it.
    Mapped(u64),
    /// It was in memory before.
    Before,
    /// Nothing is known of it.
    Unknown,
}

impl Owner {
    /// The stack that is to blame.
    #[must_use]
    pub const fn stack(self) -> Option<u64> {
        match self {
            Self::Touched(stack)
            | Self::Holder(stack)
            | Self::Nearest(stack)
            | Self::Mapped(stack) => Some(stack),
            Self::Before | Self::Unknown => None,
        }
    }
}

impl Owners {
    /// Notes what was in memory when it was first looked at.
    pub fn note_before(&mut self, present: Range) {
        self.touched.fill(present, Touch { stack: None, is_offered: false, stands_for: 1 });
    }

    /// Notes a mapping of a file or of shared memory that was there when it was first looked at.
    pub fn note_shared(&mut self, mapping: Range) {
        let made_since: Vec<_> = self.mapped.within(mapping).map(|(part, _)| part).collect();
        for part in gaps(mapping, made_since) {
            self.shared.put(part, ());
        }
    }

    /// Takes in what happened.
    pub fn apply(&mut self, event: &Event) {
        let range = pages(event.start, event.size);
        match event.kind {
            kind::TOUCHED => self.touch(event),
            kind::MAPPED => self.map(range, event.stack, event.detail),
            // How large it is turns out when it is looked for.
            kind::ATTACHED => self.map(pages(event.start, 1), event.stack, 0),
            kind::UNMAPPED => self.unmap(range),
            kind::DETACHED => {
                let mapped = self.mapped.at(event.start).map(|(mapped, _)| mapped);
                self.unmap(mapped.unwrap_or_default());
            }
            kind::MOVED => self.relocate(range, event.detail),
            kind::DISCARDED => {
                self.touched.cut(range);
                self.returned.put(range, ());
            }
            kind::OFFERED => {
                for (part, touch) in self.touched.cut(range) {
                    self.touched.put(part, Touch { is_offered: true, ..touch });
                }
            }
            _ => {}
        }
    }

    fn touch(&mut self, event: &Event) {
        let page = pages(event.start, 1);
        let known = self.touched.at(page.start);
        if known.is_some_and(|(_, touch)| !touch.is_offered) {
            return;
        }
        if self.touched.count() >= MAX_RANGES {
            self.dropped += 1;
            return;
        }
        let stands_for = u32::try_from(event.detail.max(1)).unwrap_or(u32::MAX);
        let touch = Touch { stack: Some(event.stack), is_offered: false, stands_for };
        self.touched.put(page, touch);
        self.returned.cut(page);
    }

    fn map(&mut self, range: Range, stack: u64, purpose: u64) {
        self.unmap(range);
        if self.mapped.count() < MAX_RANGES {
            self.mapped.put(range, Mapped { stack, purpose });
        }
    }

    fn unmap(&mut self, range: Range) {
        self.touched.cut(range);
        self.mapped.cut(range);
        self.shared.cut(range);
        self.returned.cut(range);
    }

    fn relocate(&mut self, range: Range, to: u64) {
        let shift = to.wrapping_sub(range.start);
        let shifted = |part: Range| Range {
            start: part.start.wrapping_add(shift),
            end: part.end.wrapping_add(shift),
        };
        for (part, touch) in self.touched.cut(range) {
            self.touched.put(shifted(part), touch);
        }
        for (part, mapped) in self.mapped.cut(range) {
            self.mapped.put(shifted(part), mapped);
        }
        for (part, ()) in self.returned.cut(range) {
            self.returned.put(shifted(part), ());
        }
    }

    /// Touches for which there was no room.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// All pages that were seen to be touched and not given back, by owner.
    pub fn recorded(&self) -> impl Iterator<Item = (Range, Owner)> {
        self.touched.iter().map(|(range, touch)| (range, touch.owner()))
    }

    /// Bytes of a range that were seen to be mapped and are.
    #[must_use]
    pub fn mapped(&self, range: Range) -> u64 {
        self.mapped.within(range).map(|(part, _)| part.end - part.start).sum()
    }

    /// To whom a range belongs that is in memory, in parts. It lies in a mapping of the kernel's, in
    /// which there are these live blocks.
    #[must_use]
    pub fn of(&self, present: Range, mapping: Range, holders: &Holders) -> Vec<(Range, Owner)> {
        let touched: Vec<_> = self.touched.within(present).collect();
        let mut parts: Vec<_> =
            touched.iter().map(|(part, touch)| (*part, touch.owner())).collect();
        for gap in gaps(present, touched.iter().map(|(part, _)| *part)) {
            let held: Vec<_> = holders.within(gap).collect();
            for rest in gaps(gap, held.iter().map(|(part, _)| *part)) {
                self.divide(rest, mapping, &mut parts);
            }
            parts.extend(held.into_iter().map(|(part, stack)| (part, Owner::Holder(stack))));
        }
        parts
    }

    /// Divides what nobody was seen to touch by the mappings that were seen to be made.
    fn divide(&self, gap: Range, mapping: Range, parts: &mut Vec<(Range, Owner)>) {
        let mapped: Vec<_> = self.mapped.within(gap).collect();
        for (part, value) in &mapped {
            let (whole, _) = self.mapped.at(part.start).unwrap_or((*part, *value));
            let owner = self.nearest(*part, whole);
            parts.push((*part, owner.unwrap_or(Owner::Mapped(value.stack))));
        }
        // Its size was not told, as that of attached shared memory.
        let start = self.mapped.at(mapping.start);
        let start = start.filter(|(known, _)| known.end - known.start == PAGE);
        let otherwise = start.map_or(Owner::Unknown, |(_, value)| Owner::Mapped(value.stack));
        for part in gaps(gap, mapped.iter().map(|(part, _)| *part)) {
            parts.push((part, self.nearest(part, mapping).unwrap_or(otherwise)));
        }
    }

    /// The stack that touched the page before, else the one behind.
    fn nearest(&self, part: Range, mapping: Range) -> Option<Owner> {
        let stack_in = |(range, touch): (Range, Touch)| {
            let is_near = mapping.start < range.end && range.start < mapping.end;
            touch.stack.filter(|_| is_near).map(Owner::Nearest)
        };
        let before = self.touched.last_up_to(part.start).and_then(stack_in);
        before.or_else(|| self.touched.first_from(part.start).and_then(stack_in))
    }
}

impl Touch {
    fn owner(self) -> Owner {
        self.stack.map_or(Owner::Before, Owner::Touched)
    }
}

/// The pages that hold some bytes.
fn pages(start: u64, bytes: u64) -> Range {
    let first = start - start % PAGE;
    let end = start.saturating_add(bytes).checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
    Range { start: first, end: end.max(first) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPPING: Range = Range { start: 0x1_0000, end: 0x8_0000 };

    fn page(number: u64) -> u64 {
        0x1_0000 + number * PAGE
    }

    fn event(kind: u32, first: u64, count: u64, stack: u64) -> Event {
        Event { kind, start: page(first), size: count * PAGE, stack, ..Event::default() }
    }

    /// Stack 1 maps 40 pages, 2 touches the first 10, 3 the next 10.
    fn owners() -> Owners {
        let mut owners = Owners::default();
        owners.apply(&event(kind::MAPPED, 0, 40, 1));
        for (pages, stack) in [(0..10, 2), (10..20, 3)] {
            pages.for_each(|number| owners.apply(&event(kind::TOUCHED, number, 0, stack)));
        }
        owners
    }

    /// Pages by owner, in the order of addresses.
    fn counts(owners: &Owners, first: u64, count: u64) -> Vec<(u64, Owner)> {
        let present = Range { start: page(first), end: page(first + count) };
        let mut parts = owners.of(present, MAPPING, &Holders::default());
        parts.sort_by_key(|(part, _)| part.start);
        parts.iter().map(|(part, owner)| ((part.end - part.start) / PAGE, *owner)).collect()
    }

    #[test]
    fn pages_belong_to_whoever_touched_them_first() {
        let mut owners = owners();
        owners.apply(&event(kind::TOUCHED, 5, 0, 9));
        assert_eq!(counts(&owners, 0, 20), [(10, Owner::Touched(2)), (10, Owner::Touched(3))]);
        assert_eq!(counts(&owners, 18, 4), [(2, Owner::Touched(3)), (2, Owner::Nearest(3))]);
    }

    #[test]
    fn what_was_given_back_belongs_to_whoever_touches_it_next() {
        let mut owners = owners();
        owners.apply(&event(kind::DISCARDED, 0, 2, 0));
        owners.apply(&event(kind::OFFERED, 2, 2, 0));
        for number in 0..3 {
            owners.apply(&event(kind::TOUCHED, number, 0, 7));
        }
        assert_eq!(
            counts(&owners, 0, 5),
            [(3, Owner::Touched(7)), (1, Owner::Touched(2)), (1, Owner::Touched(2))]
        );
        owners.apply(&event(kind::UNMAPPED, 0, 40, 0));
        assert_eq!(counts(&owners, 0, 1), [(1, Owner::Unknown)]);
    }

    #[test]
    fn pages_keep_their_owners_when_they_move() {
        let mut owners = owners();
        let to = page(60);
        owners.apply(&Event { detail: to, ..event(kind::MOVED, 5, 10, 0) });
        owners.apply(&event(kind::UNMAPPED, 5, 10, 0));
        assert_eq!(counts(&owners, 60, 10), [(5, Owner::Touched(2)), (5, Owner::Touched(3))]);
        assert_eq!(counts(&owners, 5, 1), [(1, Owner::Nearest(2))]);
    }

    #[test]
    fn a_mapping_of_which_nothing_was_touched_belongs_to_whoever_made_it() {
        let mut owners = Owners::default();
        owners.apply(&event(kind::MAPPED, 0, 10, 1));
        owners.apply(&event(kind::MAPPED, 5, 10, 2));
        assert_eq!(counts(&owners, 0, 15), [(5, Owner::Mapped(1)), (10, Owner::Mapped(2))]);
        assert_eq!(counts(&owners, 15, 1), [(1, Owner::Unknown)]);
    }

    #[test]
    fn what_nobody_was_seen_to_touch_belongs_to_the_block_that_lies_on_it() {
        let owners = owners();
        let range = |first, last| Range { start: page(first) + 16, end: page(last) + 100 };
        let holders: Holders = [(range(15, 22), 7), (range(24, 26), 8)].into_iter().collect();
        let present = Range { start: page(15), end: page(30) };
        let mut parts = owners.of(present, MAPPING, &holders);
        parts.sort_by_key(|(part, _)| part.start);
        let pages = |part: Range| (part.end - part.start) / PAGE;
        let parts: Vec<_> = parts.into_iter().map(|(part, owner)| (pages(part), owner)).collect();
        let nearest = Owner::Nearest(3);
        assert_eq!(
            parts,
            [
                (5, Owner::Touched(3)),
                (3, Owner::Holder(7)),
                (2, nearest),
                (2, Owner::Holder(8)),
                (3, nearest)
            ]
        );
    }

    #[test]
    fn what_was_there_before_is_told_apart() {
        let mut owners = owners();
        owners.note_before(Range { start: page(15), end: page(30) });
        assert_eq!(
            counts(&owners, 15, 20),
            [(5, Owner::Touched(3)), (10, Owner::Before), (5, Owner::Mapped(1))]
        );
    }

    #[test]
    fn any_event_is_survived() {
        let mut owners = owners();
        for kind in 0..10 {
            for (start, size) in [(0, 0), (u64::MAX, 1), (1, u64::MAX), (u64::MAX - 1, u64::MAX)] {
                owners.apply(&Event {
                    kind,
                    start,
                    size,
                    detail: u64::MAX - 7,
                    ..Event::default()
                });
            }
        }
        let everything = Range { start: 0, end: u64::MAX };
        assert!(owners.of(everything, everything, &Holders::default()).len() < 100);
    }
}
