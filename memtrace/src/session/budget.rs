//! Watches the probes' share of a process's CPU time, and says when it has been too much for too
//! long. Refuses to know what happens then.

use std::time::Duration;

use crate::profile::{BasisPoints, Shed};

/// The share is taken over spans at least as long as this.
const SPAN: Duration = Duration::from_millis(500);
/// A process that used less CPU time in a span is given more time: the kernel counts it in
/// hundredths of a second.
const LEAST_USED: Duration = Duration::from_millis(50);
/// Every span in a row must be over the limit, until there are so many of them.
const SUSTAINED: u32 = 4;

const ALL: BasisPoints = BasisPoints(10_000);

/// What has been counted since tracing began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reading {
    /// When.
    pub at: Duration,
    /// CPU time of the process.
    pub used: Duration,
    /// Calls of allocating functions.
    pub calls: u64,
    /// Calls of releasing functions.
    pub releases: u64,
}

/// What probing a call costs, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Price {
    /// An allocation, its return included.
    pub call: u64,
    /// A release.
    pub release: u64,
}

/// The recent past of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {
    last: Reading,
    /// The start of the spans in a row that were over the limit, and how many they are.
    over: Option<(Reading, u32)>,
    share: BasisPoints,
    spent: Duration,
}

impl Watch {
    /// From a reading on.
    #[must_use]
    pub fn since(last: Reading) -> Self {
        Self { last, ..Self::default() }
    }

    /// The share over the last span.
    #[must_use]
    pub const fn share(&self) -> BasisPoints {
        self.share
    }

    /// What the probes took in the last span.
    #[must_use]
    pub const fn spent(&self) -> Duration {
        self.spent
    }

    /// Takes in a reading; says if it is time to take the probes off.
    pub fn observe(&mut self, now: Reading, price: Price, limit: BasisPoints) -> Option<Shed> {
        let span = now.at.saturating_sub(self.last.at);
        if span < SPAN || now.used.saturating_sub(self.last.used) < LEAST_USED {
            return None;
        }
        self.share = share(self.last, now, price);
        self.spent = spent(self.last, now, price);
        let (start, spans) = self.over.unwrap_or((self.last, 0));
        self.last = now;
        // A process that sleeps most of the time has long spans; one of them is not enough.
        self.over = (self.share > limit).then_some((start, spans + 1));
        let (start, spans) = self.over?;
        let after = now.at.saturating_sub(start.at);
        let share = share(start, now, price);
        (spans >= SUSTAINED).then_some(Shed { at: now.at, share, after, limit })
    }
}

fn share(from: Reading, to: Reading, price: Price) -> BasisPoints {
    // The price is an estimate, and may be too high where there is little else.
    BasisPoints::of(spent(from, to, price), to.used.saturating_sub(from.used)).min(ALL)
}

fn spent(from: Reading, to: Reading, price: Price) -> Duration {
    let calls = to.calls.saturating_sub(from.calls).saturating_mul(price.call);
    let releases = to.releases.saturating_sub(from.releases).saturating_mul(price.release);
    Duration::from_nanos(calls.saturating_add(releases))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price { call: 2_000, release: 500 };
    const LIMIT: BasisPoints = BasisPoints(1_000);

    /// Half seconds, each with its calls, half of which are released, and its CPU time in ms.
    fn watch(spans: &[(u64, u64)]) -> (Watch, Option<Shed>) {
        let (mut watch, mut now) = (Watch::default(), Reading::default());
        for (calls, used) in spans {
            now.at += SPAN;
            now.used += Duration::from_millis(*used);
            now.calls += calls;
            now.releases += calls / 2;
            if let Some(shed) = watch.observe(now, PRICE, LIMIT) {
                return (watch, Some(shed));
            }
        }
        (watch, None)
    }

    #[test]
    fn two_seconds_over_the_limit_are_too_much() {
        // 100,000 calls cost 225 ms.
        let (watch, shed) =
            watch(&[(0, 500), (100_000, 500), (100_000, 500), (90_000, 500), (100_000, 500)]);
        let shed = shed.unwrap();
        assert_eq!((shed.at, shed.after), (SPAN * 5, SPAN * 4));
        assert_eq!((shed.share, shed.limit), (BasisPoints(4_387), LIMIT));
        assert_eq!(watch.share(), BasisPoints(4_500));
    }

    #[test]
    fn a_blip_is_forgiven() {
        let blip = [(100_000, 500), (100_000, 500), (100_000, 500), (10_000, 500)];
        assert!(watch(&blip.repeat(5)).1.is_none());
    }

    #[test]
    fn a_process_that_hardly_runs_is_looked_at_over_a_longer_time() {
        let (idle, shed) = watch(&[(10_000, 1); 40]);
        assert!(shed.is_none() && idle.share() == BasisPoints(0), "40 ms are too little to tell");
        let shed = watch(&[(10_000, 20); 40]).1.unwrap();
        assert_eq!(shed.at, SPAN * 12, "four spans of three halves of a second");
    }

    #[test]
    fn a_process_that_comes_later_has_not_been_dear_before() {
        let mut reading = Reading { at: SPAN * 100, ..Reading::default() };
        let mut watch = Watch::since(reading);
        let shed = std::iter::from_fn(|| {
            reading.at += SPAN;
            reading.used += SPAN;
            reading.calls += 100_000;
            Some(watch.observe(reading, PRICE, LIMIT))
        });
        let shed = shed.flatten().next().unwrap();
        assert_eq!((shed.after, shed.since(SPAN * 100).at), (SPAN * 4, SPAN * 4));
    }

    #[test]
    fn no_limit_is_never_reached() {
        let mut watch = Watch::default();
        for second in 1..100 {
            let at = Duration::from_secs(second);
            let reading = Reading { at, used: at, calls: second * 10_000_000, releases: 0 };
            assert!(watch.observe(reading, PRICE, BasisPoints(u32::MAX)).is_none());
        }
        assert_eq!(watch.share(), ALL);
    }
}
