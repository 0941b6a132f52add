//! The recent past of the traced processes: every look of the last minute, and fewer of the hour
//! before it. All processes are looked at at the same moments, so that they can be added up.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::profile::{ByKind, Point, Timeline};

/// Looks of the last moments that are all kept.
const RECENT: usize = 300;
/// Looks of the time before; both together are no more than a timeline may have.
const OLDER: usize = 290;
/// Time between these.
const INTERVAL: Duration = Duration::from_secs(12);

/// What was seen at one moment, by slot.
#[derive(Clone, Debug)]
struct Look {
    at: Duration,
    points: HashMap<u32, Point>,
}

/// The looks, in the order of their times.
#[derive(Clone, Debug, Default)]
pub struct Film {
    older: VecDeque<Look>,
    recent: VecDeque<Look>,
}

impl Film {
    /// Takes in a look.
    pub fn push(&mut self, at: Duration, points: impl IntoIterator<Item = (u32, Point)>) {
        self.recent.push_back(Look { at, points: points.into_iter().collect() });
        if self.recent.len() <= RECENT {
            return;
        }
        let Some(old) = self.recent.pop_front() else { return };
        if self.older.back().is_none_or(|last| old.at >= last.at + INTERVAL) {
            self.older.push_back(old);
        }
        if self.older.len() > OLDER {
            self.older.pop_front();
        }
    }

    /// Adds what a process had at a moment, such as that of its end; of the others what they had in
    /// the look before.
    pub fn mark(&mut self, slot: u32, point: Point) {
        let place = self.recent.partition_point(|look| look.at <= point.at);
        let before = place.checked_sub(1).and_then(|place| self.recent.get(place));
        let mut points = before.map(|look| look.points.clone()).unwrap_or_default();
        points.insert(slot, point);
        self.recent.insert(place, Look { at: point.at, points });
    }

    /// Cuts the processes out whose slots others are about to have.
    pub fn forget(&mut self, slots: &[u32]) {
        for look in self.older.iter_mut().chain(&mut self.recent) {
            look.points.retain(|slot, _| !slots.contains(slot));
        }
    }

    /// The sum over some processes, at times since `start`.
    #[must_use]
    pub fn timeline(&self, slots: &[u32], start: Duration) -> Timeline {
        let looks = self.older.iter().chain(&self.recent);
        let points = looks.filter_map(|look| {
            let mut of_slots = slots.iter().filter_map(|slot| look.points.get(slot)).peekable();
            of_slots.peek()?;
            let at = look.at.saturating_sub(start);
            Some(of_slots.fold(Point { at, ..Point::default() }, added))
        });
        Timeline { points: points.collect(), looks_per_point: 1, together: None }
    }
}

fn added(sum: Point, point: &Point) -> Point {
    let (a, b) = (sum.resident, point.resident);
    let resident = ByKind {
        anonymous: a.anonymous.saturating_add(b.anonymous),
        shared: a.shared.saturating_add(b.shared),
        file: a.file.saturating_add(b.file),
    };
    Point { at: sum.at, resident, live: sum.live.saturating_add(point.live) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::MAX_POINTS;

    fn point(bytes: u64) -> Point {
        let resident = ByKind { anonymous: bytes, ..ByKind::default() };
        Point { resident, live: bytes / 2, ..Point::default() }
    }

    #[test]
    fn chosen_processes_are_added_up() {
        let mut film = Film::default();
        film.push(Duration::from_secs(5), [(0, point(10)), (1, point(100)), (2, point(1000))]);
        film.push(Duration::from_secs(6), [(1, point(200))]);
        let timeline = film.timeline(&[0, 1], Duration::from_secs(4));
        let sums: Vec<_> = timeline.points.iter().map(|p| (p.at.as_secs(), p.live)).collect();
        assert_eq!(sums, [(1, 55), (2, 100)]);
        film.forget(&[1]);
        assert_eq!(film.timeline(&[1], Duration::ZERO).points.len(), 0);
    }

    #[test]
    fn the_end_is_a_point_of_its_own() {
        let mut film = Film::default();
        film.push(Duration::from_secs(1), [(0, point(10)), (1, point(100))]);
        film.push(Duration::from_secs(3), [(1, point(100))]);
        film.mark(0, Point { at: Duration::from_secs(2), ..point(60) });
        let timeline = film.timeline(&[0, 1], Duration::ZERO);
        let sums: Vec<_> = timeline.points.iter().map(|p| (p.at.as_secs(), p.live)).collect();
        assert_eq!(sums, [(1, 55), (2, 80), (3, 50)]);
    }

    #[test]
    fn an_hour_fits_and_the_end_of_it_is_sharp() {
        let mut film = Film::default();
        for quarter in 0..40_000_u32 {
            film.push(Duration::from_millis(250) * quarter, [(0, point(1))]);
        }
        let points = film.timeline(&[0], Duration::ZERO).points;
        assert!(points.len() <= MAX_POINTS && points.is_sorted_by_key(|point| point.at));
        let span = points.last().unwrap().at.saturating_sub(points[0].at);
        assert!((3_500..3_600).contains(&span.as_secs()), "{span:?}");
    }
}
