//! Memory over time, in a bounded number of points.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most points of a timeline; more than a chart is wide in pixels would not be seen.
pub const MAX_POINTS: usize = 600;

/// Memory of all traced processes together, over the time of tracing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// In the order of their times.
    pub points: Vec<Point>,
    /// Looks at the processes that each point stands for; of these it shows the one with the
    /// largest RSS, and the most live bytes of any.
    pub looks_per_point: u32,
    /// The most that several processes had with shared memory counted once, as far as that was
    /// looked at.
    pub together: Option<Together>,
}

/// What several processes had in memory at one moment, in bytes; what they share counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Together {
    /// From the start of tracing.
    pub at: Duration,
    /// All of it: the sum of `Pss`.
    pub proportional: u64,
    /// What only one of them has.
    pub private: u64,
}

/// Memory at one moment, in bytes. Shared memory counts in each process that has it mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// From the start of tracing.
    pub at: Duration,
    /// What is resident.
    pub resident: ByKind,
    /// Recorded and not released.
    pub live: u64,
}

/// Resident memory by the kinds that the kernel counts, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByKind {
    /// `RssAnon`: heaps, stacks, written data.
    pub anonymous: u64,
    /// `RssShmem`: shared memory and files on tmpfs.
    pub shared: u64,
    /// `RssFile`: pages of other files.
    pub file: u64,
}

/// What was resident when most was live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtPeak {
    /// At the moment of the nearest look.
    pub resident: ByKind,
    /// Time between the peak and that look.
    pub distance: Duration,
    /// Whether the look came before the peak.
    pub before: bool,
}

impl ByKind {
    /// The RSS.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.anonymous.saturating_add(self.shared).saturating_add(self.file)
    }
}

impl Timeline {
    /// The point with the largest RSS.
    #[must_use]
    pub fn highest(&self) -> Option<&Point> {
        self.points.iter().max_by_key(|point| point.resident.sum())
    }

    /// The point with the most live memory.
    #[must_use]
    pub fn most_live(&self) -> Option<&Point> {
        self.points.iter().max_by_key(|point| point.live)
    }
}

/// Takes in looks at any rate, for any time.
#[derive(Clone, Debug)]
pub struct Recorder {
    timeline: Timeline,
    /// Looks that the last point stands for.
    filled: u32,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { timeline: Timeline { looks_per_point: 1, ..Timeline::default() }, filled: 0 }
    }
}

impl Recorder {
    /// Takes in a look; later ones have later times.
    pub fn push(&mut self, point: Point) {
        let Timeline { points, looks_per_point, .. } = &mut self.timeline;
        match points.last_mut() {
            Some(last) if self.filled < *looks_per_point => {
                *last = merged(*last, point);
                self.filled += 1;
            }
            _ => {
                points.push(point);
                self.filled = 1;
            }
        }
        if points.len() == MAX_POINTS && self.filled == *looks_per_point {
            let pairs = points.chunks(2);
            *points =
                pairs.map(|pair| pair.iter().copied().reduce(merged).unwrap_or_default()).collect();
            *looks_per_point = looks_per_point.saturating_mul(2);
            self.filled = *looks_per_point;
        }
    }

    /// What was taken in.
    #[must_use]
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }
}

/// The one of two points with the larger RSS, and the most live bytes of both.
fn merged(first: Point, second: Point) -> Point {
    let live = first.live.max(second.live);
    let larger = if second.resident.sum() > first.resident.sum() { second } else { first };
    Point { live, ..larger }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(second: u64, anonymous: u64, live: u64) -> Point {
        let resident = ByKind { anonymous, ..ByKind::default() };
        Point { at: Duration::from_secs(second), resident, live }
    }

    fn timeline(points: impl Iterator<Item = Point>) -> Timeline {
        let mut recorder = Recorder::default();
        points.for_each(|point| recorder.push(point));
        recorder.timeline().clone()
    }

    #[test]
    fn a_short_timeline_keeps_every_look() {
        let looks: Vec<_> = (0..MAX_POINTS as u64 - 1).map(|at| point(at, at, at)).collect();
        let timeline = timeline(looks.iter().copied());
        assert_eq!((timeline.looks_per_point, &timeline.points), (1, &looks));
    }

    #[test]
    fn maxima_and_their_times_survive_the_thinning() {
        for peak in [0, 1, 7_777, 99_998, 99_999] {
            let anonymous = |at| if at == peak { 1_000 } else { at % 10 };
            let live = |at| if at == peak / 2 { 500 } else { 3 };
            let timeline = timeline((0..100_000).map(|at| point(at, anonymous(at), live(at))));
            assert!((MAX_POINTS / 2..=MAX_POINTS).contains(&timeline.points.len()));
            assert!(timeline.looks_per_point.is_power_of_two());
            let highest = timeline.highest().unwrap();
            assert_eq!((highest.at.as_secs(), highest.resident.sum()), (peak, 1_000));
            assert_eq!(timeline.points.iter().map(|point| point.live).max(), Some(500));
            assert!(timeline.points.is_sorted_by_key(|point| point.at));
        }
    }

    #[test]
    fn points_stand_for_equally_many_looks() {
        let timeline = timeline((0..5_000).map(|at| point(at, 5_000 - at, 0)));
        let step = u64::from(timeline.looks_per_point);
        let times = timeline.points.iter().map(|point| point.at.as_secs());
        assert!(times.eq((0..5_000).step_by(step as usize)));
    }
}
