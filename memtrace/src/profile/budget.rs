//! How the budget for overhead acted on a process.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A share in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BasisPoints(pub u32);

/// When and why the probes of a process were taken off before its tracing ended. Live memory is
/// as of then, and peak and allocated memory are what there was until then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shed {
    /// From the start of tracing.
    pub at: Duration,
    /// The probes' share of the CPU time of the process before that.
    pub share: BasisPoints,
    /// For how long the share had been over the limit.
    pub after: Duration,
    /// The limit.
    pub limit: BasisPoints,
}

impl Shed {
    /// The same with a time that counts from later on.
    #[must_use]
    pub fn since(self, start: Duration) -> Self {
        Self { at: self.at.saturating_sub(start), ..self }
    }
}

impl BasisPoints {
    /// The share that `part` is of `whole`; nothing of nothing.
    #[must_use]
    pub fn of(part: Duration, whole: Duration) -> Self {
        let points = part.as_nanos() * 10_000 / whole.as_nanos().max(1);
        Self(u32::try_from(points).unwrap_or(u32::MAX))
    }

    /// From 0 to 1, or more.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl fmt::Display for BasisPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two digits tell enough of a share; of one below a percent, its hundredths do.
        let points = if self.0 < 1_000 { self.0 } else { self.0.saturating_add(5) / 10 * 10 };
        let (percent, hundredths) = (points / 100, points % 100);
        let decimals = format!("{hundredths:02}");
        match decimals.trim_end_matches('0') {
            "" => write!(f, "{percent} %"),
            decimals => write!(f, "{percent}.{decimals} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_no_more_digits_than_they_need() {
        let texts = [0, 5, 50, 125, 1_000, 6_249, 12_000];
        let texts = texts.map(|points| BasisPoints(points).to_string());
        assert_eq!(texts, ["0 %", "0.05 %", "0.5 %", "1.25 %", "10 %", "62.5 %", "120 %"]);
    }

    #[test]
    fn a_share_of_nothing_is_no_error() {
        let [none, second] = [0, 1].map(Duration::from_secs);
        assert_eq!(BasisPoints::of(none, none), BasisPoints(0));
        assert_eq!(BasisPoints::of(second / 8, second), BasisPoints(1_250));
        assert_eq!(BasisPoints::of(Duration::MAX, Duration::from_nanos(1)), BasisPoints(u32::MAX));
    }
}
