//! How a profile came about: the run of memtrace, what probing cost, what was lost.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BasisPoints;

/// One run of memtrace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Version of memtrace.
    pub version: String,
    /// When tracing began, seconds since 1970.
    pub started: u64,
    /// How long it lasted.
    pub duration: Duration,
    /// Command line of memtrace.
    pub command_line: String,
    /// Name of the machine.
    pub host: String,
    /// Release of its kernel.
    pub kernel: String,
    /// Detail level, as users type it.
    pub detail: String,
    /// Bytes between samples on average; 0: every allocation was recorded.
    pub sample_interval_bytes: u64,
    /// Whether native addresses were resolved to symbols.
    pub symbolized: bool,
    /// What tracing did to the target.
    pub cost: Cost,
}

/// What tracing did to the speed of the traced processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Every kind of probe.
    pub probes: Vec<Probe>,
    /// CPU time of the traced processes while traced, probes included; `None`: not measured.
    pub target_time: Option<Duration>,
    /// The share of a process's CPU time above which its probes are taken off; `None`: they stay.
    pub limit: Option<BasisPoints>,
}

/// Probes of one kind, and what they cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Function and module.
    pub name: String,
    /// Times it fired.
    pub hits: u64,
    /// Time per hit, as calibrated on this machine.
    pub nanoseconds_per_hit: u64,
    /// Whether the kernel must single-step the probed instruction.
    pub slow: bool,
}

/// Something that could not be recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What happened, as a noun phrase that follows a count.
    pub what: String,
    /// How often.
    pub count: u64,
    /// What the user can do about it.
    pub advice: String,
}

impl Cost {
    /// How often probes fired.
    #[must_use]
    pub fn hits(&self) -> u64 {
        self.probes.iter().fold(0, |sum, probe| sum.saturating_add(probe.hits))
    }

    /// Time that the traced processes spent in probes.
    #[must_use]
    pub fn time(&self) -> Duration {
        let nanoseconds = self.probes.iter().map(Probe::nanoseconds);
        Duration::from_nanos(nanoseconds.fold(0, u64::saturating_add))
    }

    /// The probes' share of the traced processes' CPU time, 0 to 1; `None`: not measured.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        let target_time = self.target_time.filter(|time| !time.is_zero())?;
        Some(self.time().div_duration_f64(target_time))
    }
}

impl Probe {
    fn nanoseconds(&self) -> u64 {
        self.hits.saturating_mul(self.nanoseconds_per_hit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_hits_times_calibrated_time() {
        let probe =
            |hits, nanoseconds_per_hit| Probe { hits, nanoseconds_per_hit, ..Probe::default() };
        let cost = Cost {
            probes: vec![probe(1_000_000, 550), probe(5_000, 10_000)],
            target_time: Some(Duration::from_secs(6)),
            limit: None,
        };
        assert_eq!(cost.hits(), 1_005_000);
        assert_eq!(cost.time(), Duration::from_millis(600));
        assert!((cost.share().unwrap() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn an_idle_target_has_no_share() {
        let cost = Cost { target_time: Some(Duration::ZERO), ..Cost::default() };
        assert_eq!(cost.share(), None);
    }
}
