//! Control groups under watch: how near each is to its limit, and which one hit it.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::{
    process::{
        groups::{GroupMemory, Groups, around},
        host,
    },
    profile::{Evidence, Group, Limit, Usual},
};

/// Share of a limit, in percent, above which a kill is near; below the second one it is not.
const NEAR: u64 = 90;
const FAR: u64 = 80;
/// Share of the time, in percent, for which processes wait for memory when a kill is near.
const WAITING: u128 = 30;
/// A group is not told of again sooner than this.
const QUIET: Duration = Duration::from_mins(5);
/// Above this share of a limit its group is looked at with every number it has.
const CLOSE: u64 = 50;
/// Otherwise this often.
const SELDOM: Duration = Duration::from_secs(2);
/// Looks at a group that are remembered.
const LOOKS: usize = 24;
/// Groups that are watched.
const MAX_GROUPS: usize = 4096;

/// The path of everything.
const MACHINE: &str = "/";

/// Why a snapshot is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A group is near its limit.
    NearLimit(String),
    /// Processes of a group wait for memory.
    Pressure(String),
}

/// The groups, by path.
pub struct Limits {
    groups: Groups,
    watched: HashMap<String, Watched>,
}

#[derive(Default)]
struct Watched {
    /// The last looks: a report is written some moments after the kill, when all is over.
    looks: VecDeque<(Duration, GroupMemory)>,
    highest: u64,
    usual: Usual,
    /// When it was last told of, until it is far from its limit.
    told: Option<Duration>,
}

impl Limits {
    /// No groups yet.
    #[must_use]
    pub fn new(groups: Groups) -> Self {
        Self { groups, watched: HashMap::new() }
    }

    /// Watches these groups and those around them, and no others.
    pub fn watch<'a>(&mut self, paths: impl IntoIterator<Item = &'a str>) {
        let mut wanted: Vec<_> = paths.into_iter().flat_map(around).collect();
        wanted.push(MACHINE.to_owned());
        wanted.sort_unstable();
        wanted.dedup();
        wanted.truncate(MAX_GROUPS);
        self.watched.retain(|path, _| wanted.binary_search(path).is_ok());
        for path in wanted {
            self.watched.entry(path).or_default();
        }
    }

    /// Looks at the groups; returns what is to be told.
    pub fn look(&mut self, now: Duration) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        for (path, watched) in &mut self.watched {
            if watched.is_due(now)
                && let Some(memory) = read(&self.groups, path)
            {
                watched.note(memory, now);
                alarms.extend(watched.alarm(path, now));
            }
        }
        alarms
    }

    /// A group as it was at a moment, at the latest.
    #[must_use]
    pub fn group(&self, path: &str, moment: Duration) -> Option<Group> {
        let watched = self.watched.get(path)?;
        let (_, memory) = watched.look_before(moment)?;
        Some(watched.group(path, memory))
    }

    /// The limit that a process in a group hit at a moment: the one that the kernel's log names, else
    /// the one whose hits have gone up, else the fullest.
    #[must_use]
    pub fn hit(
        &self,
        cgroup: Option<&str>,
        logged: Option<&str>,
        moment: Duration,
    ) -> Option<Limit> {
        if let Some(path) = logged {
            return self.limit(path, Evidence::Log, moment);
        }
        let mut paths = around(cgroup.unwrap_or(MACHINE));
        paths.push(MACHINE.to_owned());
        let share = |path: &String| {
            let (_, memory) = self.watched.get(path)?.look_before(moment)?;
            memory.limit.map(|_| share(memory))
        };
        if let Some(path) = paths.iter().find(|path| self.has_hit(path, share(path), moment)) {
            return self.limit(path, Evidence::Counter, moment);
        }
        let fullest = paths.iter().max_by_key(|path| share(path))?;
        let is_full = share(fullest).is_some_and(|share| share >= FAR);
        is_full.then(|| self.limit(fullest, Evidence::Fullest, moment))?
    }

    /// Whether the limit of a group, used to a share before, was hit about then.
    fn has_hit(&self, path: &str, share: Option<u64>, moment: Duration) -> bool {
        let before = moment.saturating_sub(SELDOM);
        let hits = self.watched.get(path).and_then(|watched| watched.look_before(before));
        let (Some((_, before)), Some(now)) = (hits, read(&self.groups, path)) else { return false };
        now.hits > before.hits && share.is_some_and(|share| share >= CLOSE)
    }

    fn limit(&self, path: &str, evidence: Evidence, moment: Duration) -> Option<Limit> {
        let look = self.watched.get(path).and_then(|watched| {
            let (at, memory) = watched.look_before(moment)?;
            Some((watched.group(path, memory), *at))
        });
        // Nobody there was traced.
        let unwatched =
            || Some((Watched::default().group(path, &read(&self.groups, path)?), moment));
        let (group, at) = look.or_else(unwatched)?;
        Some(Limit { group, looked_before: moment.saturating_sub(at), evidence })
    }
}

/// The memory of a group, or of the machine.
fn read(groups: &Groups, path: &str) -> Option<GroupMemory> {
    if path == MACHINE { host::memory() } else { groups.memory(path).ok() }
}

/// Percent of the limit that cannot be given back at once.
fn share(memory: &GroupMemory) -> u64 {
    let limit = u128::from(memory.limit.unwrap_or(u64::MAX).max(1));
    u64::try_from(u128::from(memory.working_set()) * 100 / limit).unwrap_or(u64::MAX)
}

impl Watched {
    fn note(&mut self, memory: GroupMemory, now: Duration) {
        let working_set = memory.working_set();
        self.highest = self.highest.max(working_set);
        self.usual.note(working_set);
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((now, memory));
        if self.share() < FAR && self.told.is_some_and(|told| now >= told + QUIET) {
            self.told = None;
        }
    }

    /// The last look up to a moment, or the first.
    fn look_before(&self, moment: Duration) -> Option<&(Duration, GroupMemory)> {
        self.looks.iter().rev().find(|(at, _)| *at <= moment).or_else(|| self.looks.front())
    }

    fn share(&self) -> u64 {
        self.looks.back().map_or(0, |(_, memory)| share(memory))
    }

    fn is_due(&self, now: Duration) -> bool {
        let is_old = self.looks.back().is_none_or(|(at, _)| now >= *at + SELDOM);
        is_old || self.share() >= CLOSE
    }

    /// Whether processes spend their time waiting for memory.
    fn waits(&self) -> bool {
        let mut looks = self.looks.iter().rev();
        let (Some((end, after)), Some((start, before))) = (looks.next(), looks.next()) else {
            return false;
        };
        let (Some(before), Some(after)) = (before.stalled, after.stalled) else { return false };
        let passed = end.saturating_sub(*start).as_millis();
        after.saturating_sub(before).as_millis() * 100 > passed * WAITING
    }

    fn alarm(&mut self, path: &str, now: Duration) -> Option<Alarm> {
        if self.told.is_some() {
            return None;
        }
        let alarm = match self.share() >= NEAR {
            true => Alarm::NearLimit(path.to_owned()),
            false if self.waits() => Alarm::Pressure(path.to_owned()),
            false => return None,
        };
        self.told = Some(now);
        Some(alarm)
    }

    fn group(&self, path: &str, memory: &GroupMemory) -> Group {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn memory(usage: u64, stalled: u64) -> GroupMemory {
        let stalled = Some(Duration::from_millis(stalled));
        GroupMemory { limit: Some(100), usage, stalled, ..GroupMemory::default() }
    }

    #[test]
    fn a_group_is_told_of_once_until_it_is_far_from_its_limit() {
        let mut watched = Watched::default();
        let mut told = Vec::new();
        for (second, usage) in [(1, 50), (2, 91), (3, 95), (50, 70), (51, 92), (302, 79), (303, 90)]
        {
            watched.note(memory(usage, 0), SECOND * second);
            told.extend(watched.alarm("/a", SECOND * second).map(|_| second));
        }
        assert_eq!(told, [2, 303]);
    }

    #[test]
    fn waiting_for_a_third_of_the_time_is_pressure() {
        let mut watched = Watched::default();
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
    fn the_machine_is_a_group_with_a_limit() {
        let mut limits = Limits::new(Groups::find().unwrap());
        limits.watch([]);
        limits.look(SECOND);
        let limit = limits.hit(None, Some("/"), SECOND * 2).unwrap();
        assert!(limit.group.limit > Some(limit.group.usage), "{limit:?}");
        assert_eq!((limit.evidence, limit.looked_before), (Evidence::Log, SECOND));
    }
}
