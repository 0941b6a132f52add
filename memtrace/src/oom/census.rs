//! All processes of the machine, and the last minute of each. Bounded: what has ended is forgotten after
//! a while, and of too many processes the smallest are left out.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

use super::past::{Past, Standing};
use crate::process::{Identity, survey::Seen};

/// Who has ended no longer before a kill may have been killed with the victim.
const TOGETHER: Duration = Duration::from_millis(100);
/// Who is seen alive so much later has not ended, whatever was said.
const ALIVE_AGAIN: Duration = Duration::from_secs(1);
/// Surveys whose times are known; a report is written some moments after the kill.
const SURVEYS: usize = 16;
/// How long a process that has ended is remembered: a report about it may be due.
const AFTERLIFE: Duration = Duration::from_secs(10);
/// Processes that are remembered.
const MAX_CITIZENS: usize = 32_768;

/// Everybody, by process id.
#[derive(Default)]
pub struct Census {
    citizens: HashMap<u32, Citizen>,
    /// When everybody was last looked for.
    surveys: VecDeque<Duration>,
    /// Processes for which there was no room.
    pub unknown: u64,
    /// Processes that have been seen.
    pub seen: u64,
}

/// A process and its last minute. Times are since boot.
#[derive(Clone, Debug)]
pub struct Citizen {
    /// Which process.
    pub identity: Identity,
    /// Its short name when last seen.
    pub comm: String,
    /// Its RSS when last seen, in bytes.
    pub resident: u64,
    /// Its control group when last looked for.
    pub cgroup: Option<String>,
    /// When it was last seen alive.
    pub last_seen: Duration,
    /// When it was killed or found to have ended.
    pub ended: Option<Duration>,
    past: Past,
}

impl Census {
    /// Takes in a look at a process; whether it is a new one.
    pub fn note(&mut self, seen: &Seen, now: Duration) -> bool {
        let is_full = self.citizens.len() >= MAX_CITIZENS;
        match self.citizens.entry(seen.identity.pid) {
            Entry::Occupied(mut known) if known.get().identity == seen.identity => {
                known.get_mut().note(seen, now);
                false
            }
            Entry::Vacant(_) if is_full => {
                self.unknown += 1;
                false
            }
            Entry::Occupied(mut other) => {
                self.seen += 1;
                other.insert(Citizen::new(seen, now));
                true
            }
            Entry::Vacant(place) => {
                self.seen += 1;
                place.insert(Citizen::new(seen, now));
                true
            }
        }
    }

    /// Notes the control group of a process.
    pub fn place(&mut self, pid: u32, cgroup: Option<String>) {
        if let Some(citizen) = self.citizens.get_mut(&pid) {
            citizen.cgroup = cgroup.or(citizen.cgroup.take());
        }
    }

    /// Notes that a process has ended, or was killed for want of memory.
    pub fn end(&mut self, pid: u32, at: Duration) {
        if let Some(citizen) = self.citizens.get_mut(&pid) {
            citizen.ended.get_or_insert(at);
        }
    }

    /// Everybody has been looked for: forgets those that have been gone for a while.
    pub fn close_survey(&mut self, now: Duration) {
        if self.surveys.len() == SURVEYS {
            self.surveys.pop_front();
        }
        self.surveys.push_back(now);
        self.citizens.retain(|_, citizen| now.saturating_sub(citizen.last_seen) < AFTERLIFE);
    }

    /// Those that lived at a moment, as they were when last seen before it.
    pub fn at(&self, moment: Duration) -> impl Iterator<Item = (&Citizen, Standing)> {
        let survey = moment.checked_sub(TOGETHER).and_then(|moment| self.survey_before(moment));
        let lived = move |citizen: &&Citizen| {
            let was_gone = citizen.ended.is_some_and(|ended| ended + TOGETHER < moment);
            !was_gone && survey.is_none_or(|survey| citizen.last_seen >= survey)
        };
        let citizens = self.citizens.values().filter(lived);
        citizens.filter_map(move |citizen| Some((citizen, citizen.at(moment)?)))
    }

    /// When a process began, at the earliest; `None`: not known.
    #[must_use]
    pub fn born(&self, pid: u32, moment: Duration) -> Option<Duration> {
        match self.citizens.get(&pid) {
            Some(citizen) => Some(citizen.identity.started()),
            // It was not there when everybody was looked for.
            None if self.unknown == 0 => self.survey_before(moment),
            None => None,
        }
    }

    /// When everybody was last looked for before a moment.
    fn survey_before(&self, moment: Duration) -> Option<Duration> {
        self.surveys.iter().rev().find(|at| **at <= moment).copied()
    }

    /// A process, alive or lately dead.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Citizen> {
        self.citizens.get(&pid)
    }

    /// Everybody.
    pub fn iter(&self) -> impl Iterator<Item = &Citizen> {
        self.citizens.values()
    }

    /// Those in a control group or in a group within it; everybody if it is `/`.
    pub fn in_group(&self, path: &str) -> impl Iterator<Item = &Citizen> {
        self.iter().filter(move |citizen| citizen.is_in(path))
    }
}

impl Citizen {
    fn new(seen: &Seen, now: Duration) -> Self {
        Self {
            identity: seen.identity,
            comm: seen.comm.clone(),
            resident: seen.resident,
            cgroup: None,
            last_seen: now,
            ended: seen.is_dead.then_some(now),
            past: Past::new(now, seen.resident),
        }
    }

    fn note(&mut self, seen: &Seen, now: Duration) {
        if seen.is_dead {
            self.ended.get_or_insert(now);
            return;
        }
        self.ended = self.ended.filter(|ended| now < *ended + ALIVE_AGAIN);
        self.comm.clone_from(&seen.comm);
        (self.resident, self.last_seen) = (seen.resident, now);
        self.past.note(now, seen.resident);
    }

    /// As it was when last seen before a moment; `None`: nobody had seen it yet.
    #[must_use]
    pub fn at(&self, moment: Duration) -> Option<Standing> {
        self.past.at(moment)
    }

    /// Whether it is in a control group or in a group within it; everybody is in `/`.
    #[must_use]
    pub fn is_in(&self, path: &str) -> bool {
        path == "/" || self.cgroup.as_deref().is_some_and(|cgroup| is_within(cgroup, path))
    }
}

/// Whether a control group is another one or within it.
fn is_within(cgroup: &str, path: &str) -> bool {
    let rest = cgroup.strip_prefix(path);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: u32, start_time: u64, resident: u64) -> Seen {
        let identity = Identity { pid, start_time };
        Seen { identity, comm: "worker".into(), resident, is_dead: false }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn who_lived_at_a_moment_is_told_apart_from_the_dead_and_the_unborn() {
        let mut census = Census::default();
        let at = |millis| Duration::from_millis(millis);
        (1..=3).for_each(|pid| {
            census.note(&seen(pid, 1, 100), at(1_000));
        });
        census.close_survey(at(1_000));
        census.end(1, at(1_200));
        census.note(&seen(2, 1, 200), at(2_000));
        census.close_survey(at(2_000));
        census.note(&seen(2, 1, 10), at(2_600));
        census.note(&seen(4, 1, 100), at(2_600));
        let lived: Vec<_> = census.at(at(2_500)).collect();
        let [(citizen, standing)] = &*lived else { panic!("{lived:?}") };
        assert_eq!((citizen.identity.pid, standing.resident), (2, 200), "before the kill");
        let mut killed_together: Vec<_> =
            census.at(at(1_250)).map(|(citizen, _)| citizen.identity.pid).collect();
        killed_together.sort_unstable();
        assert_eq!(killed_together, [1, 2, 3]);
    }

    #[test]
    fn the_dead_are_remembered_with_what_they_had() {
        let mut census = Census::default();
        assert!(census.note(&seen(1, 7, 1000), SECOND));
        let dead = Seen { is_dead: true, resident: 0, ..seen(1, 7, 0) };
        assert!(!census.note(&dead, SECOND * 2));
        let known = census.get(1).map(|one| (one.resident, one.ended));
        assert_eq!(known, Some((1000, Some(SECOND * 2))));
        census.close_survey(SECOND * 10);
        assert!(census.get(1).is_some());
        census.close_survey(SECOND * 12);
        assert!(census.get(1).is_none());
    }

    #[test]
    fn an_id_that_is_used_again_is_another_process() {
        let mut census = Census::default();
        census.note(&seen(1, 7, 1000), SECOND);
        assert!(census.note(&seen(1, 8, 10), SECOND * 2));
        assert_eq!(census.get(1).unwrap().at(SECOND * 2).unwrap().grown, 0);
    }

    #[test]
    fn groups_hold_those_of_the_groups_within() {
        let mut census = Census::default();
        for (pid, cgroup) in [(1, "/jobs"), (2, "/jobs/a"), (3, "/jobs2"), (4, "/")] {
            census.note(&seen(pid, 1, 1), SECOND);
            census.place(pid, Some(cgroup.into()));
        }
        let mut inside: Vec<_> = census.in_group("/jobs").map(|one| one.identity.pid).collect();
        inside.sort_unstable();
        assert_eq!(inside, [1, 2]);
        assert_eq!(census.in_group("/").count(), 4);
    }
}
