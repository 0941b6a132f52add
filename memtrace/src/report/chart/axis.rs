//! Axes with round numbers in the units that people read.

use std::time::Duration;

/// An axis from 0, or from where something is known.
pub(super) struct Axis {
    /// Where it begins, in units.
    pub(super) start: f64,
    /// Where it ends, in units.
    pub(super) end: f64,
    /// The unit's name.
    pub(super) unit: &'static str,
    /// Bytes or seconds in a unit.
    size: f64,
}

const KIB: f64 = 1024.0;
const MIB: f64 = KIB * KIB;
const GIB: f64 = MIB * KIB;
const TIB: f64 = GIB * KIB;
const PIB: f64 = TIB * KIB;
const EIB: f64 = PIB * KIB;
const SIZES: [(f64, &str); 6] =
    [(EIB, "EiB"), (PIB, "PiB"), (TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")];
const TIMES: [(f64, &str); 2] = [(3_600.0, "hours"), (60.0, "minutes")];

impl Axis {
    /// With room above the highest value for what is written there.
    pub(super) fn bytes(highest: u64) -> Self {
        let highest = real(highest.max(1 << 10)) * 1.15;
        let fits = SIZES.into_iter().find(|(size, _)| highest >= 1.5 * size);
        let (size, unit) = fits.unwrap_or(SIZES[5]);
        Self { start: 0.0, end: highest / size, unit, size }
    }

    /// To the latest time; from the beginning, unless nothing is known of most of the time.
    pub(super) fn time(first: Duration, latest: Duration) -> Self {
        let latest = latest.as_secs_f64().max(0.001);
        let fits = TIMES.into_iter().find(|(size, _)| latest >= 3.0 * size);
        let (size, unit) = fits.unwrap_or((1.0, "seconds"));
        let (first, end) = (first.as_secs_f64() / size, latest / size);
        Self { start: if first > end / 10.0 { first } else { 0.0 }, end, unit, size }
    }

    pub(super) fn of_bytes(&self, bytes: u64) -> f64 {
        real(bytes) / self.size
    }

    pub(super) fn of_time(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.size
    }

    /// As many decimals as the distances between labels need.
    pub(super) fn label(&self, value: f64) -> String {
        let decimals = match self.end - self.start {
            20.0.. => 0,
            2.0..20.0 => 1,
            0.2..2.0 => 2,
            _ => 3,
        };
        let label = format!("{value:.decimals$}");
        let is_fraction = label.contains('.');
        let short = label.trim_end_matches('0').trim_end_matches('.');
        if is_fraction { short.to_owned() } else { label }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
const fn real(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_suit_the_largest_value() {
        let unit = |bytes| Axis::bytes(bytes).unit;
        assert_eq!(
            [0, 5 << 10, 3 << 20, 1 << 30, 2 << 30].map(unit),
            ["KiB", "KiB", "MiB", "MiB", "GiB"]
        );
        assert_eq!(Axis::bytes(u64::MAX).unit, "EiB");
        let unit = |seconds| Axis::time(Duration::ZERO, Duration::from_secs(seconds)).unit;
        assert_eq!(
            [0, 179, 180, 10_799, 10_800].map(unit),
            ["seconds", "seconds", "minutes", "minutes", "hours"]
        );
    }

    #[test]
    fn labels_are_no_longer_than_needed() {
        let seconds = |end: f64| Axis::time(Duration::ZERO, Duration::from_secs_f64(end));
        assert_eq!(seconds(30.0).label(20.0), "20");
        assert_eq!(seconds(5.0).label(2.5), "2.5");
        assert_eq!(seconds(5.0).label(2.0), "2");
        assert_eq!(seconds(1.0).label(0.0), "0");
        assert_eq!(seconds(0.1).label(0.02), "0.02");
    }
    #[test]
    fn labels_differ_also_late_in_a_long_time() {
        let at = Duration::from_secs_f64;
        let axis = Axis::time(at(122.0), at(125.0));
        assert_eq!([122.2, 122.4, 123.0].map(|value| axis.label(value)), ["122.2", "122.4", "123"]);
        let known_from_the_start = Axis::time(at(1.0), at(125.0));
        assert!(known_from_the_start.start < 0.1);
    }
}
