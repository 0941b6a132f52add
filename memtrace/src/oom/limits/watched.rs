//! A control group under watch: its last looks, and whether it is to be told of.

use std::{collections::VecDeque, time::Duration};

use super::{Alarm, SELDOM};
use crate::{
    process::groups::GroupMemory,
    profile::{Group, Usual},
};

/// Share of a limit, in percent, above which a kill is near; below the second one it is not.
const NEAR: u64 = 90;
pub(super) const FAR: u64 = 80;
/// Share of the time, in percent, for which processes wait for memory when a kill is near.
const WAITING: u128 = 30;
/// A group whose processes stay is not told of again sooner than this.
const QUIET: Duration = Duration::from_mins(1);
/// Above this share of a limit its group is looked at whenever there is time.
pub(super) const CLOSE: u64 = 50;
/// Looks at a group that are remembered.
const LOOKS: usize = 24;

/// A group and its recent past.
#[derive(Default)]
pub(super) struct Watched {
    /// The traced processes in it, in their order.
    pub members: Vec<u32>,
    /// When it was last asked for.
    pub wanted: Duration,
    /// The last looks: a report is written some moments after the kill, when all is over.
    looks: VecDeque<(Duration, GroupMemory)>,
    /// Whether nobody was there at the last look.
    was_empty: bool,
    highest: u64,
    usual: Usual,
    told: Option<Told>,
}

/// That a group was told of: when, and who was in it.
struct Told {
    at: Duration,
    members: Vec<u32>,
}

impl Watched {
    /// Takes in a look. Of an empty group the last one is enough: what there was before is of more
    /// interest, and what usually is in use is not told by nobody.
    pub fn note(&mut self, memory: GroupMemory, now: Duration) {
        let working_set = memory.working_set();
        self.highest = self.highest.max(working_set);
        let is_empty = self.members.is_empty();
        if !is_empty {
            self.usual.note(working_set);
        }
        if is_empty && self.was_empty {
            self.looks.pop_back();
        } else if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.was_empty = is_empty;
        self.looks.push_back((now, memory));
        if self.told.as_ref().is_some_and(|told| told.is_over(self, now)) {
            self.told = None;
        }
    }

    /// The last look up to a moment.
    pub fn look_before(&self, moment: Duration) -> Option<&(Duration, GroupMemory)> {
        self.looks.iter().rev().find(|(at, _)| *at <= moment)
    }

    /// The first look.
    pub fn first_look(&self) -> Option<&(Duration, GroupMemory)> {
        self.looks.front()
    }

    fn share(&self) -> u64 {
        self.looks.back().map_or(0, |(_, memory)| share(memory))
    }

    /// Whether it is far from its limit, as far as the last look tells.
    pub fn is_far(&self) -> bool {
        self.share() < FAR
    }

    /// Whether it is time for a look, if there are many groups.
    pub fn is_due(&self, now: Duration) -> bool {
        let is_old = self.looks.back().is_none_or(|(at, _)| now >= *at + SELDOM);
        is_old || self.share() >= CLOSE
    }

    /// Whether processes spend their time waiting for memory.
    fn waits(&self) -> bool {
        let Some((end, after)) = self.looks.back() else { return false };
        let Some((start, before)) = self.look_before(end.saturating_sub(SELDOM)) else {
            return false;
        };
        let (Some(before), Some(after)) = (before.stalled, after.stalled) else { return false };
        let passed = end.saturating_sub(*start).as_millis();
        after.saturating_sub(before).as_millis() * 100 > passed * WAITING
    }

    /// What is to be told of it now.
    pub fn alarm(&mut self, path: &str, now: Duration) -> Option<Alarm> {
        if self.told.is_some() {
            return None;
        }
        let alarm = match self.share() >= NEAR {
            true => Alarm::NearLimit(path.to_owned()),
            false if self.waits() => Alarm::Pressure(path.to_owned()),
            false => return None,
        };
        self.told = Some(Told { at: now, members: self.members.clone() });
        Some(alarm)
    }

    /// What was to be told could not be.
    pub fn untell(&mut self) {
        self.told = None;
    }

    /// The group as a look found it.
    pub fn group(&self, path: &str, memory: &GroupMemory) -> Group {
        Group {
            path: path.to_owned(),
            limit: memory.limit,
            usage: memory.usage,
            working_set: memory.working_set(),
            peak: memory.peak,
            highest_working_set: self.highest.max(memory.working_set()),
            usual_working_set: self.usual.bytes().unwrap_or_else(|| memory.working_set()),
            kills: memory.kills,
            stat: memory.stat.clone(),
            processes: Vec::new(),
        }
    }
}

impl Told {
    /// Whether the next danger is another one: other processes are there, or it was over for a time.
    fn is_over(&self, group: &Watched, now: Duration) -> bool {
        let stay = self.members.iter().filter(|pid| group.members.contains(pid)).count();
        let are_others = stay == 0 && !group.members.is_empty();
        let is_calm = stay < self.members.len() || now >= self.at + QUIET;
        are_others || group.is_far() && is_calm
    }
}

/// Percent of the limit that cannot be given back at once.
pub(super) fn share(memory: &GroupMemory) -> u64 {
    let limit = u128::from(memory.limit.unwrap_or(u64::MAX).max(1));
    u64::try_from(u128::from(memory.working_set()) * 100 / limit).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn memory(usage: u64, stalled: u64) -> GroupMemory {
        let stalled = Some(Duration::from_millis(stalled));
        GroupMemory { limit: Some(100), usage, stalled, ..GroupMemory::default() }
    }

    fn inhabited() -> Watched {
        Watched { members: vec![1, 2], ..Watched::default() }
    }

    #[test]
    fn a_group_is_told_of_once_until_it_is_far_from_its_limit() {
        let mut watched = inhabited();
        let mut told = Vec::new();
        for (second, usage) in [(1, 50), (2, 91), (3, 95), (50, 70), (51, 92), (63, 79), (64, 90)] {
            watched.note(memory(usage, 0), SECOND * second);
            told.extend(watched.alarm("/a", SECOND * second).map(|_| second));
        }
        assert_eq!(told, [2, 64]);
    }

    #[test]
    fn a_group_of_other_processes_is_told_of_at_once() {
        let mut watched = inhabited();
        watched.note(memory(91, 0), SECOND);
        assert!(watched.alarm("/a", SECOND).is_some());
        // One was killed, and another one took its place.
        watched.members = vec![2, 3];
        watched.note(memory(95, 0), SECOND * 2);
        assert_eq!(watched.alarm("/a", SECOND * 2), None, "it was near all the time");
        watched.note(memory(60, 0), SECOND * 3);
        watched.note(memory(91, 0), SECOND * 4);
        assert!(watched.alarm("/a", SECOND * 4).is_some());
        watched.members = vec![4];
        watched.note(memory(93, 0), SECOND * 5);
        assert!(watched.alarm("/a", SECOND * 5).is_some(), "all are others");
    }

    #[test]
    fn waiting_for_a_third_of_the_time_is_pressure() {
        let mut watched = inhabited();
        watched.note(memory(10, 500), SECOND);
        assert!(!watched.waits(), "since when?");
        watched.note(memory(10, 1000), SECOND * 3);
        assert!(!watched.waits(), "a quarter");
        watched.note(memory(10, 1700), SECOND * 5);
        assert_eq!(watched.alarm("/a", SECOND), Some(Alarm::Pressure("/a".into())));
    }

    #[test]
    fn page_cache_that_can_go_brings_no_limit_near() {
        let mut full = memory(99, 0);
        full.stat = vec![("inactive_file".into(), 60)];
        let mut watched = Watched::default();
        watched.note(full, SECOND);
        assert_eq!(watched.share(), 39);
    }

    #[test]
    fn what_an_empty_group_uses_hides_nothing() {
        let mut watched = inhabited();
        watched.note(memory(95, 0), SECOND);
        watched.members.clear();
        for second in 2..200 {
            watched.note(memory(0, 0), SECOND * second);
        }
        let (at, before) = watched.look_before(SECOND + SECOND / 2).unwrap();
        assert_eq!((*at, before.usage), (SECOND, 95));
        assert_eq!(watched.group("/a", before).usual_working_set, 95);
        assert_eq!(watched.look_before(SECOND / 2), None, "a later look tells nothing of before");
    }
}
