//! All processes of the machine, and how each has grown in the last minute. Bounded: what has ended
//! is forgotten after a while, and of too many processes the smallest are left out.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    time::Duration,
};

use crate::process::{Identity, survey::Seen};

/// How far back growth is known.
const MEMORY: Duration = Duration::from_mins(1);
/// Looks at a process that are kept, at most one a second.
const LOOKS: usize = 61;
const BETWEEN_LOOKS: Duration = Duration::from_millis(900);
/// How long a process that has ended is remembered: a report about it may be due.
const AFTERLIFE: Duration = Duration::from_secs(10);
/// Processes that are remembered.
const MAX_CITIZENS: usize = 32_768;

/// Everybody, by process id.
#[derive(Default)]
pub struct Census {
    citizens: HashMap<u32, Citizen>,
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
    /// When it was first seen.
    pub first_seen: Duration,
    /// When it was last seen alive.
    pub last_seen: Duration,
    /// Whether it has been killed or has ended.
    pub is_dead: bool,
    looks: VecDeque<(Duration, u64)>,
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

    /// Forgets those that have been gone for a while.
    pub fn forget(&mut self, now: Duration) {
        self.citizens.retain(|_, citizen| now.saturating_sub(citizen.last_seen) < AFTERLIFE);
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
            first_seen: now,
            last_seen: now,
            is_dead: seen.is_dead,
            looks: VecDeque::from([(now, seen.resident)]),
        }
    }

    fn note(&mut self, seen: &Seen, now: Duration) {
        self.is_dead = seen.is_dead;
        if seen.is_dead {
            return;
        }
        self.comm.clone_from(&seen.comm);
        (self.resident, self.last_seen) = (seen.resident, now);
        if self.looks.back().is_none_or(|(last, _)| now >= *last + BETWEEN_LOOKS) {
            if self.looks.len() == LOOKS {
                self.looks.pop_front();
            }
            self.looks.push_back((now, seen.resident));
        }
    }

    /// Whether it is in a control group or in a group within it; everybody is in `/`.
    #[must_use]
    pub fn is_in(&self, path: &str) -> bool {
        path == "/" || self.cgroup.as_deref().is_some_and(|cgroup| is_within(cgroup, path))
    }

    /// By how many bytes the RSS has grown in the last minute, or since it was first seen; and in
    /// how much time.
    #[must_use]
    pub fn growth(&self) -> (i64, Duration) {
        let start = self.last_seen.saturating_sub(MEMORY);
        let oldest = self.looks.iter().find(|(at, _)| *at >= start);
        let (at, before) = *oldest.unwrap_or(&(self.last_seen, self.resident));
        let grown = self.resident.cast_signed().wrapping_sub(before.cast_signed());
        (grown, self.last_seen.saturating_sub(at))
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
    fn growth_is_that_of_the_last_minute() {
        let mut census = Census::default();
        for second in 0..200 {
            census.note(&seen(1, 7, 1000 * u64::from(second)), SECOND * second);
        }
        assert_eq!(census.get(1).unwrap().growth(), (60_000, SECOND * 60));
        census.note(&seen(2, 8, 500), SECOND * 200);
        assert_eq!(census.get(2).unwrap().growth(), (0, Duration::ZERO));
    }

    #[test]
    fn the_dead_are_remembered_with_what_they_had() {
        let mut census = Census::default();
        assert!(census.note(&seen(1, 7, 1000), SECOND));
        let dead = Seen { is_dead: true, resident: 0, ..seen(1, 7, 0) };
        assert!(!census.note(&dead, SECOND * 2));
        assert_eq!(census.get(1).map(|one| (one.resident, one.is_dead)), Some((1000, true)));
        census.forget(SECOND * 10);
        assert!(census.get(1).is_some());
        census.forget(SECOND * 12);
        assert!(census.get(1).is_none());
    }

    #[test]
    fn an_id_that_is_used_again_is_another_process() {
        let mut census = Census::default();
        census.note(&seen(1, 7, 1000), SECOND);
        assert!(census.note(&seen(1, 8, 10), SECOND * 2));
        assert_eq!(census.get(1).unwrap().growth().0, 0);
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
