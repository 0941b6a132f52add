//! What the processes had in memory while they were traced: the timeline, and the look that was
//! nearest to each process's peak.

use std::{collections::HashMap, time::Duration};

use memtrace_abi::process::ProcessTotals;

use crate::{
    process::status::MemoryUse,
    profile::{AtPeak, ByKind, Point, Recorder, Sharing, Timeline, Together, Usual},
};

/// What was seen so far.
#[derive(Default)]
pub struct History {
    recorder: Recorder,
    /// The looks of this moment, added up.
    now: Point,
    /// The most that several had, what they share counted once.
    together: Option<Together>,
    processes: HashMap<u32, Track>,
}

/// Times are since boot, as the kernel programs give them.
#[derive(Clone, Default)]
struct Track {
    last: Option<Look>,
    peak: Option<(Duration, AtPeak)>,
    usual: Usual,
    sharing: Option<Sharing>,
}

#[derive(Clone, Copy)]
struct Look {
    at: Duration,
    resident: ByKind,
    live: u64,
}

impl History {
    /// Takes in a look at the process in a slot, at a time since boot.
    pub fn note(&mut self, slot: u32, at: Duration, memory: &MemoryUse, totals: &ProcessTotals) {
        let look = Look { at, resident: by_kind(memory), live: totals.live_bytes };
        let track = self.processes.entry(slot).or_default();
        let peak_at = Duration::from_nanos(totals.peak_time);
        // A peak between two looks is seen all the same.
        let has_peaked = track.last.is_none_or(|last| peak_at > last.at);
        let live = if has_peaked { totals.peak().0 } else { totals.live_bytes };
        track.note_peak(totals, Some(look));
        track.last = Some(look);
        track.usual.note(look.resident.sum());
        let ByKind { anonymous, shared, file } = self.now.resident;
        self.now.resident = ByKind {
            anonymous: anonymous.saturating_add(look.resident.anonymous),
            shared: shared.saturating_add(look.resident.shared),
            file: file.saturating_add(look.resident.file),
        };
        self.now.live = self.now.live.saturating_add(live);
    }

    /// Closes this moment, at a time since the start of tracing.
    pub fn close(&mut self, at: Duration) {
        let now = std::mem::take(&mut self.now);
        self.recorder.push(Point { at, ..now });
    }

    /// Takes in how much of its memory the process in a slot has for itself.
    pub fn note_sharing(&mut self, slot: u32, sharing: Sharing) {
        self.processes.entry(slot).or_default().sharing = Some(sharing);
    }

    /// Takes in what all processes have together.
    pub fn note_together(&mut self, now: Together) {
        let most = self.together.get_or_insert(now);
        if now.proportional > most.proportional {
            *most = now;
        }
    }

    /// How much of its memory the process in a slot had for itself, when that was last seen.
    #[must_use]
    pub fn sharing(&self, slot: u32) -> Option<Sharing> {
        self.processes.get(&slot)?.sharing
    }

    /// What was resident when most was live, by the totals at the end.
    #[must_use]
    pub fn at_peak(&self, slot: u32, totals: &ProcessTotals) -> Option<AtPeak> {
        let mut track = self.processes.get(&slot).cloned().unwrap_or_default();
        track.note_peak(totals, None);
        track.peak.map(|(_, at_peak)| at_peak)
    }

    /// The RSS that a process usually had.
    #[must_use]
    pub fn usual(&self, slot: u32) -> Option<u64> {
        self.processes.get(&slot)?.usual.bytes()
    }

    /// What was live in a slot when its RSS was last seen.
    #[must_use]
    pub fn last_live(&self, slot: u32) -> Option<u64> {
        Some(self.processes.get(&slot)?.last?.live)
    }

    /// Forgets the process in a slot, which another one is about to have.
    pub fn forget(&mut self, slot: u32) {
        self.processes.remove(&slot);
    }

    /// The timeline so far.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        Timeline { together: self.together, ..self.recorder.timeline().clone() }
    }
}

/// What is resident, by kind.
pub const fn by_kind(memory: &MemoryUse) -> ByKind {
    let MemoryUse { anonymous, shared, file, .. } = *memory;
    ByKind { anonymous, shared, file }
}

impl Track {
    /// Of a peak that is new, the nearer one of the looks before and after it is kept.
    fn note_peak(&mut self, totals: &ProcessTotals, after: Option<Look>) {
        let time = Duration::from_nanos(totals.peak_time);
        if totals.peak_time == 0 || self.peak.is_some_and(|(known, _)| known == time) {
            return;
        }
        let looks = self.last.into_iter().chain(after);
        let nearest = looks.min_by_key(|look| look.at.abs_diff(time));
        self.peak = nearest.map(|look| {
            let distance = look.at.abs_diff(time);
            (time, AtPeak { resident: look.resident, distance, before: look.at < time })
        });
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::mark;

    use super::*;

    fn totals(live: u64, below_peak: i64, peak_milliseconds: u64) -> ProcessTotals {
        let mut totals = ProcessTotals { live_bytes: live, ..ProcessTotals::default() };
        totals.mark = mark::step(totals.mark, -below_peak).word;
        totals.peak_time = peak_milliseconds * 1_000_000;
        totals
    }

    fn note(history: &mut History, milliseconds: u64, anonymous: u64, totals: &ProcessTotals) {
        let memory = MemoryUse { anonymous, ..MemoryUse::default() };
        history.note(0, Duration::from_millis(milliseconds), &memory, totals);
        history.close(Duration::from_millis(milliseconds));
    }

    #[test]
    fn the_nearest_look_tells_what_was_resident_at_the_peak() {
        let mut history = History::default();
        assert_eq!(history.at_peak(0, &totals(5, 0, 90)), None, "there was no look");
        note(&mut history, 100, 10, &totals(5, 0, 90));
        note(&mut history, 200, 20, &totals(5, 0, 110));
        note(&mut history, 300, 30, &totals(5, 0, 280));
        let at_peak = |peak| {
            let at_peak = history.at_peak(0, &totals(5, 0, peak)).unwrap();
            (at_peak.resident.anonymous, at_peak.distance.as_millis(), at_peak.before)
        };
        assert_eq!(at_peak(280), (30, 20, false));
        assert_eq!(at_peak(350), (30, 50, true), "a peak after the last look");
        let mut early = History::default();
        note(&mut early, 100, 10, &totals(5, 0, 90));
        note(&mut early, 200, 20, &totals(5, 0, 110));
        assert_eq!(early.at_peak(0, &totals(5, 0, 110)).unwrap().resident.anonymous, 10);
    }

    #[test]
    fn a_peak_between_two_looks_is_on_the_timeline() {
        let mut history = History::default();
        note(&mut history, 100, 1, &totals(40, 0, 90));
        note(&mut history, 200, 1, &totals(50, 70, 150));
        note(&mut history, 300, 1, &totals(60, 60, 150));
        let live = |point: &Point| point.live;
        assert_eq!(history.timeline().points.iter().map(live).collect::<Vec<_>>(), [40, 120, 60]);
    }

    #[test]
    fn what_processes_have_together_is_kept_at_its_most() {
        let mut history = History::default();
        for (second, proportional) in (1..).zip([50, 80, 70]) {
            let at = Duration::from_secs(second);
            history.note_together(Together { at, proportional, private: second });
        }
        let expected = Together { at: Duration::from_secs(2), proportional: 80, private: 2 };
        assert_eq!(history.timeline().together, Some(expected));
    }

    #[test]
    fn processes_add_up() {
        let mut history = History::default();
        let memory = MemoryUse { anonymous: 3, shared: 2, file: 1, ..MemoryUse::default() };
        for slot in 0..3 {
            history.note(slot, Duration::from_secs(1), &memory, &totals(7, 0, 0));
        }
        history.close(Duration::from_secs(1));
        let [point] = history.timeline().points[..] else { panic!("one moment") };
        assert_eq!((point.resident.sum(), point.live), (18, 21));
    }
}
