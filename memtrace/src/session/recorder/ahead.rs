//! Ahead of a kill: what can be read only of the living, when a limit is near.

use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    future::pending,
    time::Duration,
};

use tokio::task::{self, JoinHandle};

use super::{reporting::MAX_PROCESSES, state::Recorder};
use crate::{
    decomposition::{LiveBlocks, Look},
    objects::Objects,
    oom::{Alarm, Victim},
    process::{Process, host},
    profile::{Cause, Decomposition},
};

/// Groups that wait for their turn.
const MAX_WAITING: usize = 64;
/// Snapshots that came to nothing, of which the reports of the kills tell.
const MAX_MISSED: usize = 64;
/// A kill so much later is another story.
const LATER: Duration = Duration::from_mins(1);

/// What was read, what is being read, and what waits for it.
#[derive(Default)]
pub struct Ahead {
    /// What the resident memory consisted of when it was last read, by slot, and when that was.
    decompositions: HashMap<u32, (Duration, Decomposition)>,
    reading: Option<JoinHandle<Readings>>,
    waiting: Waiting,
    missed: VecDeque<(String, Duration)>,
}

/// What was read of processes ahead of a kill.
pub struct Readings {
    /// Whose, by slot, and when that was known.
    decompositions: Vec<(u32, (Duration, Decomposition))>,
    /// The snapshot that is due.
    victim: Victim,
    /// The group that is near its limit.
    path: String,
}

/// Alarms that came while another one was being served, each group once.
#[derive(Default)]
struct Waiting(VecDeque<Alarm>);

impl Waiting {
    /// Whether there was room.
    fn push(&mut self, alarm: Alarm) -> bool {
        if self.0.iter().any(|other| other.path() == alarm.path()) {
            return true;
        }
        let has_room = self.0.len() < MAX_WAITING;
        if has_room {
            self.0.push_back(alarm);
        }
        has_room
    }
}

impl Ahead {
    /// What the RSS of the process in a slot consisted of before a moment, and when. What was read while
    /// the process died is of nothing that it had.
    pub fn before(&self, moment: Duration, slot: u32) -> Option<&(Duration, Decomposition)> {
        self.decompositions.get(&slot).filter(|(at, _)| *at <= moment)
    }

    /// Another process is about to have the slot.
    pub fn forget(&mut self, slot: u32) {
        self.decompositions.remove(&slot);
    }

    /// Remembers that the snapshot of a group came to nothing.
    fn miss(&mut self, path: String, now: Duration) {
        self.missed.retain(|(other, at)| *other != path && now < *at + LATER);
        self.missed.truncate(MAX_MISSED - 1);
        self.missed.push_front((path, now));
    }

    /// Whether one was due of a group that `fits`, and had not been written at a moment.
    fn has_missed(&self, moment: Duration, fits: impl Fn(&str) -> bool) -> bool {
        let waits = self.waiting.0.iter().any(|alarm| fits(alarm.path()));
        let near = |at: Duration| at.abs_diff(moment) < LATER;
        waits || self.missed.iter().any(|(path, at)| near(*at) && fits(path))
    }
}

impl Recorder {
    /// Reads ahead of a kill, one group after the other.
    pub(super) fn sound(&mut self, alarm: Alarm, now: Duration) {
        if self.ahead.reading.is_none() {
            self.read_ahead(alarm, now);
            return;
        }
        let path = alarm.path().to_owned();
        if !self.ahead.waiting.push(alarm) {
            self.limits.untell(&path);
            self.ahead.miss(path, now);
        }
    }

    /// Begins to read the largest processes of a group.
    fn read_ahead(&mut self, alarm: Alarm, now: Duration) {
        let (path, cause) = match alarm {
            Alarm::NearLimit(path) => (path, Cause::NearLimit),
            Alarm::Pressure(path) => (path, Cause::Pressure),
        };
        let in_group: HashMap<u32, u64> =
            self.census.in_group(&path).map(|one| (one.identity.pid, one.resident)).collect();
        let running = self.tracer.running();
        let mut targets: Vec<_> =
            running.filter_map(|target| Some((*in_group.get(&target.pid)?, target))).collect();
        targets.sort_by_key(|(resident, _)| Reverse(*resident));
        let Some((_, largest)) = targets.first() else { return };
        let victim = Victim {
            pid: largest.pid,
            comm: largest.comm.clone(),
            cause,
            at: now,
            slot: Some(largest.slot),
            counted: None,
        };
        let chosen = targets.iter().take(MAX_PROCESSES);
        let processes: Vec<_> =
            chosen.map(|(_, target)| (target.slot, target.process.clone())).collect();
        let known = (self.tracer.objects(), self.tracer.live().into_slots());
        let read = move || Readings { decompositions: read(processes, &known), victim, path };
        self.ahead.reading = Some(task::spawn_blocking(read));
    }

    /// Waits for what is being read.
    pub async fn readings(&mut self) -> Option<Readings> {
        match &mut self.ahead.reading {
            Some(handle) => {
                let read = handle.await.ok();
                self.ahead.reading = None;
                read
            }
            None => pending().await,
        }
    }

    /// Keeps what was read, and writes the snapshot, unless the kill was faster. Then it is the
    /// next group's turn.
    pub fn take_readings(&mut self, readings: Option<Readings>) {
        let now = host::time_since_boot();
        if let Some(Readings { decompositions, victim, path }) = readings {
            self.ahead.decompositions.extend(decompositions);
            if self.is_traced(victim.pid) {
                self.report_and_say(victim);
            } else {
                self.ahead.miss(path, now);
            }
        }
        while self.ahead.reading.is_none()
            && let Some(alarm) = self.ahead.waiting.0.pop_front()
        {
            if self.limits.is_over(&alarm) {
                self.ahead.miss(alarm.path().to_owned(), now);
            } else {
                self.read_ahead(alarm, now);
            }
        }
    }

    /// That a snapshot was due ahead of a kill, and why there is none.
    pub(super) fn missed_ahead(&self, victim: &Victim) -> Option<String> {
        let citizen = self.census.get(victim.pid)?;
        let has_missed = self.ahead.has_missed(victim.at, |path| citizen.is_in(path));
        (victim.cause.is_kill() && has_missed).then(|| {
            "A snapshot was due ahead of the kill, and the kill was faster: other groups were near \
             their limits as well, or the memory could not be read in time."
                .into()
        })
    }
}

/// What the resident memory of processes consists of. A process without memory may take seconds to
/// answer, so nobody waits for this.
fn read(
    processes: Vec<(u32, Process)>,
    (objects, live): &(Objects, HashMap<u32, LiveBlocks>),
) -> Vec<(u32, (Duration, Decomposition))> {
    let read = |(slot, process): (u32, Process)| {
        let look = Look::at(&process, objects, live.get(&slot), None).ok()?;
        Some((slot, (host::time_since_boot(), look.decomposition)))
    };
    processes.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(number: usize) -> Alarm {
        Alarm::NearLimit(format!("/{number}"))
    }

    #[test]
    fn what_was_read_of_the_dying_is_not_told() {
        let mut ahead = Ahead::default();
        let second = Duration::from_secs(1);
        ahead.decompositions.insert(3, (second * 2, Decomposition::default()));
        assert!(ahead.before(second, 3).is_none() && ahead.before(second * 2, 3).is_some());
    }

    #[test]
    fn groups_wait_for_their_turn_each_once() {
        let mut waiting = Waiting::default();
        assert!(waiting.push(near(1)) && waiting.push(near(2)));
        assert!(waiting.push(Alarm::Pressure("/1".into())));
        assert_eq!(waiting.0, [near(1), near(2)]);
        assert!((3..=MAX_WAITING).all(|number| waiting.push(near(number))));
        assert!(!waiting.push(near(0)), "there is no more room");
    }

    #[test]
    fn what_came_to_nothing_is_told_with_the_kill() {
        let mut ahead = Ahead::default();
        let second = Duration::from_secs(1);
        ahead.miss("/a".into(), second);
        assert!(ahead.has_missed(second / 2, |path| path == "/a"));
        assert!(!ahead.has_missed(second, |path| path == "/b"));
        assert!(!ahead.has_missed(second + LATER, |path| path == "/a"));
        ahead.waiting.push(near(7));
        assert!(ahead.has_missed(Duration::ZERO, |path| path == "/7"));
        (0..200).for_each(|number| ahead.miss(number.to_string(), second));
        assert_eq!(ahead.missed.len(), MAX_MISSED);
    }
}
