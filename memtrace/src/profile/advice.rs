//! What limits to set, from what was observed. Arithmetic only, and it says on what it rests: one
//! run says little about the next.

use std::{collections::BTreeMap, time::Duration};

use super::{Amounts, Cause, Group, Line, Process, Profile, View};

/// Sizes are rounded up to whole ones of these.
const STEP: u64 = 16 << 20;
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// What an advice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Index into [`Profile::processes`].
    Process(u32),
    /// Index into [`Profile::groups`].
    Group(u32),
}

/// Limits for a process or a group, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Whose.
    pub subject: Subject,
    /// The most that it had, ever.
    pub peak: u64,
    /// What it stayed below for nine tenths of the time, or the largest working set of a group.
    pub usual: u64,
    /// Observed for so long.
    pub observed: Duration,
    /// Whether it was killed, so that it would have needed more than its peak.
    pub was_killed: bool,
    /// Percent that are added to the peak, because it was observed for no longer.
    pub headroom: u64,
    /// `resources.requests.memory` of Kubernetes.
    pub request: u64,
    /// `resources.limits.memory` of Kubernetes.
    pub limit: u64,
    /// `MemoryHigh=` of systemd: above it the group is slowed down.
    pub high: u64,
    /// `MemoryMax=` of systemd.
    pub max: u64,
    /// Of the peak, what a worker has together with its parent and its like; counts once for all of them.
    pub shared: u64,
    /// What could be saved first.
    pub largest: Option<Largest>,
}

/// The line that sets the peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Largest {
    /// Index into [`Profile::frames`].
    pub frame: Option<u32>,
    /// What it held at the peak.
    pub bytes: u64,
    /// What the limit would be without that.
    pub limit_without: u64,
}

impl Advice {
    /// How many such workers fit into a budget, each up to its limit; what they share counts once.
    #[must_use]
    pub fn workers(&self, budget: u64) -> u64 {
        budget.saturating_sub(self.shared) / self.each()
    }

    /// What each worker may need for itself.
    #[must_use]
    pub fn each(&self) -> u64 {
        with(self.peak.saturating_sub(self.shared), self.headroom)
    }

    fn new(subject: Subject, peak: u64, usual: u64, profile: &Profile) -> Self {
        let observed = profile.session.duration;
        let headroom = headroom(observed);
        let limit = with(peak, headroom);
        Self {
            subject,
            peak,
            usual,
            observed,
            was_killed: false,
            headroom,
            // Who asks for less than it usually has is the first to be evicted.
            request: with(usual, 10).min(limit),
            limit,
            high: with(peak, headroom / 3).min(limit),
            max: limit,
            shared: 0,
            largest: None,
        }
    }
}

impl Profile {
    /// Limits for each process and each group of which enough is known, groups first.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let groups = (0..).zip(&self.groups).filter(|(_, group)| group.path != "/");
        let groups = groups.filter_map(|(index, group)| self.advice_for_group(index, group));
        let processes = 0..self.processes.len() as u32;
        groups.chain(processes.filter_map(|index| self.advice_for(index))).collect()
    }

    /// The kernel's own peak of a group has page cache in it, which would have made room. Of a group in
    /// which nobody was traced too little is known.
    fn advice_for_group(&self, index: u32, group: &Group) -> Option<Advice> {
        if group.processes.is_empty() {
            return None;
        }
        let peak = match group.highest_working_set {
            0 => group.peak.unwrap_or(group.usage),
            highest => highest,
        };
        let incident = self.incident.iter().filter(|incident| incident.cause == Cause::OutOfMemory);
        let mut limit = incident.filter_map(|incident| incident.limit.as_ref());
        let hit = limit.find(|limit| limit.group.path == group.path);
        // Whoever hit a limit has used all of it, if only for a moment.
        let peak = peak.max(hit.and_then(|limit| limit.group.limit).unwrap_or(0));
        let usual = if group.was_seen() { group.usual_working_set.min(peak) } else { peak };
        let mut advice = Advice::new(Subject::Group(index), peak, usual, self);
        advice.was_killed = group.kills > 0;
        advice.largest = self.largest_of_group(group, hit.is_some(), &advice);
        Some(advice)
    }

    fn advice_for(&self, index: u32) -> Option<Advice> {
        let process = self.processes.get(index as usize)?;
        let peak = process.highest_rss_bytes.or(process.rss_bytes)?;
        let usual = process.usual_rss_bytes.or(process.rss_bytes).unwrap_or(peak).min(peak);
        let mut advice = Advice::new(Subject::Process(index), peak, usual, self);
        let incident = self.incident.as_ref();
        advice.was_killed = incident.is_some_and(|incident| {
            incident.process == Some(index) && incident.cause == Cause::OutOfMemory
        });
        advice.shared = shared(process, peak);
        advice.largest = self.largest(index, peak, advice.headroom);
        Some(advice)
    }

    /// The line that held most memory of a process at its peak.
    fn largest(&self, index: u32, peak: u64, headroom: u64) -> Option<Largest> {
        largest(self.held(index, View::Peak), peak, headroom)
    }

    /// The line that held most memory of a group at its peak. What its processes held at their own peaks
    /// was not held at one moment; so it is known of the moment at which the group hit its limit, and at
    /// the end if that was about as much as ever.
    fn largest_of_group(&self, group: &Group, hit: bool, advice: &Advice) -> Option<Largest> {
        let Advice { peak, headroom, .. } = *advice;
        if let (&[only], false) = (&*group.processes, hit) {
            return self.largest(only, peak, headroom);
        }
        let is_near = group.was_seen() && group.working_set >= peak / 10 * 9;
        if !hit && !is_near {
            return None;
        }
        let runs = |index: &&u32| {
            self.processes.get(**index as usize).is_some_and(|process| process.ended.is_none())
        };
        let alive = group.processes.iter().filter(|index| hit || runs(index));
        let lines = alive.flat_map(|index| self.held(*index, View::Live)).collect();
        largest(lines, peak, headroom)
    }

    /// What lines of a process held, of what was in memory: a limit does not count the rest.
    fn held(&self, index: u32, view: View) -> Vec<(Option<u32>, u64)> {
        let Some(process) = self.processes.get(index as usize) else { return Vec::new() };
        // Only of those that ran to the end it was looked for, line by line.
        let was_looked_for = process.ended.is_none() && self.incident.is_none();
        let lines = self.lines_of(&[index], view);
        let recorded: u64 = lines.iter().map(|line| of(line, view)).sum();
        let resident = match view {
            View::Peak => process.at_peak.map(|at_peak| at_peak.resident.sum()),
            _ => process.rss_bytes,
        };
        let resident = resident.or(process.highest_rss_bytes).unwrap_or(recorded);
        let held = |line: &Line| match process.residence {
            _ if was_looked_for => of(line, view).saturating_sub(line.amounts.absent.bytes),
            Some(_) => of(line, view).min(line.amounts.resident.bytes),
            None => share(of(line, view), resident, recorded),
        };
        lines.iter().map(|line| (line.frame, held(line))).collect()
    }
}

fn of(line: &Line, view: View) -> u64 {
    line.amounts.of(view).bytes
}

/// The part of `bytes` that is in memory if all that is recorded is so alike.
fn share(bytes: u64, resident: u64, recorded: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(resident.min(recorded));
    (share / u128::from(recorded.max(1))) as u64
}

/// The one of some lines that held most, and the limit without that.
fn largest(lines: Vec<(Option<u32>, u64)>, peak: u64, headroom: u64) -> Option<Largest> {
    let mut held: BTreeMap<Option<u32>, u64> = BTreeMap::new();
    for (frame, bytes) in lines {
        let sum = held.entry(frame).or_default();
        *sum = sum.saturating_add(bytes);
    }
    // The first of those that held as much.
    let (frame, bytes) = held.into_iter().rev().max_by_key(|(_, bytes)| *bytes)?;
    let bytes = bytes.min(peak);
    let limit_without = with(peak - bytes, headroom);
    // Little is of no use to know.
    (limit_without < with(peak, headroom)).then_some(Largest { frame, bytes, limit_without })
}

/// What a process has together with its parent and its like. Of those whose parent is not traced it is not
/// known with whom they share; of those that have ended, no more than they inherited and have not added.
fn shared(process: &Process, peak: u64) -> u64 {
    let Amounts { peak: own, inherited, .. } = process.amounts;
    match process.sharing.filter(|_| process.parent.is_some()) {
        Some(sharing) => sharing.shared.min(peak),
        None => inherited.bytes.min(peak.saturating_sub(own.bytes)),
    }
}

/// Percent to add to a peak: the shorter it was looked at, the likelier a higher one is.
const fn headroom(observed: Duration) -> u64 {
    match observed.as_secs() {
        seconds if seconds < HOUR.as_secs() => 50,
        seconds if seconds < DAY.as_secs() => 30,
        _ => 15,
    }
}

fn with(bytes: u64, percent: u64) -> u64 {
    let added = (bytes / 100).saturating_mul(percent);
    bytes.saturating_add(added).max(1).checked_next_multiple_of(STEP).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{
        Amount, Builder, Frame, Incident, Limit, Residence, Session, Sharing, Stack,
    };

    const MIB: u64 = 1 << 20;

    fn profile(observed: Duration) -> Profile {
        let mut builder = Builder::new(Session { duration: observed, ..Session::default() });
        let process = builder.add_process(Process {
            highest_rss_bytes: Some(1000 * MIB),
            usual_rss_bytes: Some(400 * MIB),
            ..Process::default()
        });
        for (symbol, mib) in [("grid", 600), ("cache", 100)] {
            let frame = builder.intern(Frame::Origin { what: symbol.into() });
            let peak = Amount { bytes: mib * MIB, objects: 1 };
            builder.add_stack(process, vec![frame], Amounts { peak, ..Amounts::default() });
        }
        builder.finish()
    }

    #[test]
    fn the_longer_it_was_observed_the_less_is_added() {
        let limits = [HOUR / 2, HOUR, DAY].map(|observed| profile(observed).advice()[0].limit);
        assert_eq!(limits, [1504 * MIB, 1312 * MIB, 1152 * MIB]);
    }

    #[test]
    fn the_request_is_what_it_usually_has() {
        let advice = &profile(DAY).advice()[0];
        assert_eq!((advice.request, advice.high, advice.max), (448 * MIB, 1056 * MIB, 1152 * MIB));
        assert_eq!((advice.workers(16 << 30), advice.workers(0)), (14, 0));
        assert!(!advice.was_killed);
    }

    #[test]
    fn what_workers_share_counts_once() {
        let mut profile = profile(DAY);
        profile.processes[0].sharing = Some(Sharing { shared: 800 * MIB, ..Sharing::default() });
        assert_eq!(profile.advice()[0].workers(2 << 30), 1, "with whom is not known");
        profile.processes[0].parent = Some(1);
        let advice = &profile.advice()[0];
        assert_eq!((advice.shared, advice.each()), (800 * MIB, 240 * MIB));
        assert_eq!((advice.limit, advice.workers(2 << 30)), (1152 * MIB, 5));
        assert_eq!(advice.workers(100 * MIB), 0);
        profile.processes[0].sharing = None;
        profile.processes[0].amounts.inherited.bytes = 700 * MIB;
        assert_eq!(profile.advice()[0].shared, 700 * MIB, "it has ended");
        profile.processes[0].amounts.peak.bytes = 400 * MIB;
        assert_eq!(profile.advice()[0].shared, 600 * MIB, "it has taken more itself");
    }

    #[test]
    fn the_largest_line_tells_what_could_be_saved() {
        let largest = profile(DAY).advice()[0].largest.unwrap();
        assert_eq!((largest.frame, largest.bytes), (Some(0), 600 * MIB));
        assert_eq!(largest.limit_without, 464 * MIB);
    }

    #[test]
    fn what_was_never_touched_saves_nothing() {
        let mut profile = profile(DAY);
        profile.stacks[0].amounts.absent = Amount { bytes: 590 * MIB, objects: 1 };
        let largest = profile.advice()[0].largest.unwrap();
        assert_eq!((largest.frame, largest.bytes), (Some(1), 100 * MIB));
    }

    #[test]
    fn of_those_that_ended_only_what_was_resident_counts() {
        let mut profile = profile(DAY);
        profile.processes[0].ended = Some(HOUR);
        let named = |profile: &Profile| {
            profile.advice()[0].largest.map(|largest| (largest.frame, largest.bytes / MIB))
        };
        profile.processes[0].highest_rss_bytes = Some(350 * MIB);
        assert_eq!(named(&profile), Some((Some(0), 300)), "half of it was, nobody knows what");
        profile.processes[0].residence = Some(Residence::default());
        for (stack, mib) in profile.stacks.iter_mut().zip([50, 100]) {
            stack.amounts.resident.bytes = mib * MIB;
        }
        assert_eq!(named(&profile), Some((Some(1), 100)));
    }

    /// Two processes, one after the other, in a group with room for one.
    fn one_after_the_other() -> Profile {
        let mut profile = profile(DAY);
        let (process, stacks) = (profile.processes[0].clone(), profile.stacks.clone());
        profile.processes[0].ended = Some(HOUR);
        profile.processes.push(process);
        profile.stacks.extend(stacks.into_iter().map(|stack| Stack { process: 1, ..stack }));
        for stack in &mut profile.stacks {
            stack.amounts.live = stack.amounts.peak;
        }
        profile.groups = vec![Group {
            path: "/a".into(),
            working_set: 990 * MIB,
            highest_working_set: 1000 * MIB,
            stat: vec![("anon".into(), 1)],
            processes: vec![0, 1],
            ..Group::default()
        }];
        profile
    }

    #[test]
    fn what_was_not_held_at_once_is_not_taken_from_one_peak() {
        let mut profile = one_after_the_other();
        let of_group = |profile: &Profile| profile.advice()[0].largest.map(|most| most.bytes / MIB);
        assert_eq!(of_group(&profile), Some(600), "the dead hold nothing at the end");
        profile.groups[0].working_set = 500 * MIB;
        assert_eq!(of_group(&profile), None, "the peak was at another time");
        let limit = Some(Limit { group: profile.groups[0].clone(), ..Limit::default() });
        profile.incident = Some(Incident { limit, ..Incident::default() });
        profile.processes.iter_mut().for_each(|process| process.rss_bytes = Some(350 * MIB));
        assert_eq!(of_group(&profile), Some(600), "both lived when it hit its limit");
    }

    #[test]
    fn a_line_that_changes_nothing_is_not_named() {
        let mut profile = profile(DAY);
        for stack in &mut profile.stacks {
            stack.amounts.peak.bytes = 4 << 10;
        }
        assert_eq!(profile.advice()[0].largest, None);
    }

    #[test]
    fn who_was_killed_would_have_needed_more() {
        let mut profile = profile(HOUR);
        profile.incident = Some(Incident { process: Some(0), ..Incident::default() });
        profile.groups = vec![
            Group { path: "/".into(), ..Group::default() },
            Group {
                path: "/a".into(),
                highest_working_set: 3 << 30,
                kills: 1,
                processes: vec![0],
                ..Group::default()
            },
        ];
        let advice = profile.advice();
        assert_eq!(advice[0].subject, Subject::Group(1), "the machine itself has no limit");
        assert_eq!(advice[0].limit, 3_994 * MIB / 16 / MIB * 16 * MIB + 16 * MIB);
        assert!(advice.iter().all(|advice| advice.was_killed));
        assert_eq!(advice[0].request, advice[0].limit.min(3_392 * MIB), "nobody saw what it used");
        profile.groups[1].processes.clear();
        let of_a_group = |advice: &Advice| matches!(advice.subject, Subject::Group(_));
        assert!(!profile.advice().iter().any(of_a_group), "nobody there was traced");
    }
}
