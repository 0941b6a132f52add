//! What a process had in memory in its last minute: looks at it, in the order of their times.

use std::{collections::VecDeque, time::Duration};

/// How far back growth is known.
const MEMORY: Duration = Duration::from_mins(1);
/// What was taken so shortly before is what was missing in the end.
const LATELY: Duration = Duration::from_secs(3);
/// Time between looks that are kept.
const BETWEEN: Duration = Duration::from_millis(900);
/// The latest looks, which are all kept: a report is written some moments after the kill.
const LATEST: usize = 8;
/// All that are kept.
const LOOKS: usize = 61 + LATEST;

/// The looks: when, and the RSS.
#[derive(Clone, Debug)]
pub(super) struct Past(VecDeque<(Duration, u64)>);

/// What a process had at a look, and how it came to that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// When it was looked at, since boot.
    pub at: Duration,
    /// Its RSS, in bytes.
    pub resident: u64,
    /// By how many bytes that had grown in the minute before, or since the process was first seen.
    pub grown: i64,
    /// In how much time.
    pub over: Duration,
    /// How much of that in the last seconds.
    pub lately: i64,
}

impl Standing {
    /// A process that began a moment ago: all it has is new.
    #[must_use]
    pub fn since_birth(born: Duration, at: Duration, resident: u64) -> Self {
        let grown = resident.cast_signed();
        Self { at, resident, grown, over: at.saturating_sub(born), lately: grown }
    }

    /// The same process some time later.
    #[must_use]
    pub fn later(self, at: Duration, resident: u64) -> Self {
        let more = grown(self.resident, resident);
        let over = self.over.saturating_add(at.saturating_sub(self.at));
        let [grown, lately] = [self.grown, self.lately].map(|grown| grown.saturating_add(more));
        Self { at, resident, grown, over, lately }
    }
}

impl Past {
    pub(super) fn new(at: Duration, resident: u64) -> Self {
        Self(VecDeque::from([(at, resident)]))
    }

    /// Takes in a look.
    pub(super) fn note(&mut self, at: Duration, resident: u64) {
        let looks = &mut self.0;
        looks.push_back((at, resident));
        if let Some(place) = looks.len().checked_sub(LATEST + 1).filter(|place| *place > 0)
            && looks[place].0 < looks[place - 1].0 + BETWEEN
        {
            looks.remove(place);
        }
        if looks.len() > LOOKS {
            looks.pop_front();
        }
    }

    /// At the last look up to a moment.
    pub(super) fn at(&self, moment: Duration) -> Option<Standing> {
        let before = || self.0.iter().filter(|(at, _)| *at <= moment);
        let (at, resident) = *before().next_back()?;
        let start = at.saturating_sub(MEMORY);
        let (since, had) = *before().find(|(at, _)| *at >= start)?;
        let lately = at.saturating_sub(LATELY);
        let (_, had_lately) = *before().rfind(|(at, _)| *at <= lately).unwrap_or(&(since, had));
        Some(Standing {
            at,
            resident,
            grown: grown(had, resident),
            over: at.saturating_sub(since),
            lately: grown(had_lately, resident),
        })
    }
}

const fn grown(had: u64, has: u64) -> i64 {
    has.cast_signed().wrapping_sub(had.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn growth_is_that_of_the_last_minute() {
        let mut past = Past::new(Duration::ZERO, 0);
        for second in 1..200 {
            past.note(SECOND * second, 1000 * u64::from(second));
        }
        let grown = |at| past.at(at).map(|standing| (standing.grown, standing.over));
        assert_eq!(grown(SECOND * 200), Some((60_000, SECOND * 60)));
        assert_eq!(Past::new(SECOND, 500).at(SECOND).map(|one| one.grown), Some(0));
    }

    #[test]
    fn what_was_seen_after_a_moment_says_nothing_of_it() {
        let mut past = Past::new(SECOND, 100);
        past.note(SECOND * 2, 900);
        past.note(SECOND * 2 + SECOND / 4, 10);
        let at = SECOND * 2 + SECOND / 5;
        let expected =
            Standing { at: SECOND * 2, resident: 900, grown: 800, over: SECOND, lately: 800 };
        assert_eq!(past.at(at), Some(expected));
        assert_eq!(past.at(SECOND / 2), None);
    }

    #[test]
    fn what_was_taken_in_the_last_seconds_is_known() {
        let mut past = Past::new(Duration::ZERO, 0);
        past.note(SECOND, 100);
        for second in 2..10 {
            past.note(SECOND * second, 110);
        }
        let flat = past.at(SECOND * 9).unwrap();
        assert_eq!((flat.grown, flat.lately), (110, 0));
        let end = flat.later(SECOND * 10, 150);
        assert_eq!((end.grown, end.lately, end.over), (150, 40, SECOND * 10));
    }

    #[test]
    fn of_many_looks_the_latest_and_one_a_second_are_kept() {
        let mut past = Past::new(Duration::ZERO, 0);
        for quarter in 1..4_000 {
            past.note(SECOND / 4 * quarter, u64::from(quarter));
        }
        assert!((LOOKS - 1..=LOOKS).contains(&past.0.len()), "{}", past.0.len());
        let standing = past.at(SECOND * 1000).unwrap();
        assert_eq!(standing.resident, 3_999);
        assert!(standing.over > SECOND * 59 && standing.over <= SECOND * 60, "{standing:?}");
        assert_eq!(past.at(SECOND / 4 * 3_998).unwrap().resident, 3_998);
    }
}
