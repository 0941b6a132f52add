//! What tracing costs the targets: hits are counted, a hit's price is measured on this machine.

use std::time::Duration;

use anyhow::Result;

use super::{Detail, budget::Price, pages::Pages, target::Target};
use crate::{
    attach::plan::Program,
    kernel::{Calibration, Kernel, ProgramTimes},
    profile::{BasisPoints, Cost, Probe},
};

/// How long the kernel times the programs; timing them all the time would itself cost.
const MEASURED: Duration = Duration::from_secs(2);

/// Runs of the probes after which a mean is one.
const ENOUGH_HITS: u64 = 1_000;

/// Measures prices.
pub struct Meter {
    times: Option<ProgramTimes>,
    calibration: Calibration,
    /// Hits of probes to wait for before the timing ends; none without probes.
    enough_hits: u64,
}

impl Meter {
    /// Measures what a probe costs, and begins to time the programs.
    pub fn start(kernel: &mut Kernel, detail: Detail) -> Result<Self> {
        let (calibration, enough_hits) = match detail {
            Detail::Rss => (Calibration::default(), 0),
            Detail::Full => (kernel.calibrate()?, ENOUGH_HITS),
        };
        Ok(Self { calibration, times: kernel.time_programs().ok(), enough_hits })
    }

    /// Stops timing when enough was measured.
    pub fn tick(&mut self, kernel: &Kernel, elapsed: Duration, hits: u64) {
        let Some(times) = &mut self.times else { return };
        times.update(kernel);
        if elapsed > MEASURED && hits >= self.enough_hits {
            times.stop(kernel);
        }
    }

    /// What probing a call costs a target, as far as is known.
    #[must_use]
    pub fn price(&self, target: &Target) -> Price {
        let Calibration { fast, slow, on_return } = self.calibration;
        let trap = |program| if target.is_slow(program) { slow } else { fast };
        let price = |program| trap(program) + self.run_time(program);
        let on_return = on_return + self.run_time(Program::AllocationReturn);
        Price {
            call: price(Program::AllocationEnter) + on_return,
            release: price(Program::Release),
        }
    }

    /// Takes what the kernel has timed so far, for good if tracing has ended.
    pub fn update(&mut self, kernel: &Kernel, has_ended: bool) {
        match &mut self.times {
            Some(times) if has_ended => times.stop(kernel),
            Some(times) => times.update(kernel),
            None => {}
        }
    }

    /// What tracing has cost these processes, whose `pages` were looked at.
    pub fn cost(
        &self,
        kernel: &Kernel,
        targets: &[&Target],
        pages: &Pages,
        limit: Option<BasisPoints>,
    ) -> Result<Cost> {
        let (mut calls, mut releases, mut used) = (0, 0, Duration::ZERO);
        let mut touches = 0;
        for target in targets {
            touches += pages.told(target.slot);
            let totals = kernel.process_totals(target.slot)?;
            calls += totals.calls;
            releases += totals.release_calls;
            used += target.used();
        }
        let Calibration { fast, slow, on_return } = self.calibration;
        let is_slow = |program| targets.iter().any(|target| target.is_slow(program));
        let entry = |program| if is_slow(program) { slow } else { fast };
        let probe = |program, name, hits, trap| self.probe(program, name, hits, trap);
        let enter = Program::AllocationEnter;
        let release = Program::Release;
        let faults = self.times.as_ref().map_or(0, ProgramTimes::nanoseconds_of_fault);
        let mut probes = [
            probe(enter, "allocations, entry", calls, entry(enter)),
            probe(Program::AllocationReturn, "allocations, return", calls, on_return),
            probe(release, "releases", releases, entry(release)),
            priced("page faults, those recorded", touches, faults),
        ];
        probes[0].slow = is_slow(enter);
        probes[2].slow = is_slow(release);
        Ok(Cost { probes: probes.into(), target_time: Some(used), limit })
    }

    fn probe(&self, program: Program, name: &str, hits: u64, trap: u64) -> Probe {
        priced(name, hits, trap + self.run_time(program))
    }

    fn run_time(&self, program: Program) -> u64 {
        self.times.as_ref().map_or(0, |times| times.nanoseconds(program))
    }
}

fn priced(name: &str, hits: u64, nanoseconds_per_hit: u64) -> Probe {
    Probe { name: name.to_owned(), hits, nanoseconds_per_hit, slow: false }
}
