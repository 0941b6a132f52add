//! What tracing costs the targets: hits are counted, a hit's price is measured on this machine.

use std::time::Duration;

use anyhow::Result;

use super::target::Target;
use crate::{
    attach::plan::Program,
    kernel::{Calibration, Kernel, ProgramTimes},
    profile::{Cost, Probe},
};

/// How long the kernel times the programs; timing them all the time would itself cost.
const MEASURED: Duration = Duration::from_secs(2);

/// Measures prices.
pub struct Meter {
    times: Option<ProgramTimes>,
}

impl Meter {
    /// Begins to time the programs.
    #[must_use]
    pub fn start(kernel: &Kernel) -> Self {
        Self { times: kernel.time_programs().ok() }
    }

    /// Stops timing when enough was measured.
    pub fn tick(&mut self, kernel: &Kernel, elapsed: Duration) {
        if elapsed > MEASURED
            && let Some(times) = &mut self.times
        {
            times.stop(kernel);
        }
    }

    /// What tracing has cost.
    pub fn finish(&mut self, kernel: &mut Kernel, targets: &[Target]) -> Result<Cost> {
        if let Some(times) = &mut self.times {
            times.stop(kernel);
        }
        let (mut calls, mut releases, mut used) = (0, 0, Duration::ZERO);
        for target in targets {
            let totals = kernel.process_totals(target.slot)?;
            calls += totals.calls;
            releases += totals.release_calls;
            let now = target.status.as_ref().map_or(target.cpu_before, |status| status.cpu_time);
            used += now.saturating_sub(target.cpu_before);
        }
        let calibration = kernel.calibrate()?;
        let Calibration { fast, slow, on_return } = calibration;
        let entry = |program| if is_slow(program, targets) { slow } else { fast };
        let probe = |program, name, hits, trap| self.probe(program, name, hits, trap);
        let enter = Program::AllocationEnter;
        let release = Program::Release;
        let mut probes = [
            probe(enter, "allocations, entry", calls, entry(enter)),
            probe(Program::AllocationReturn, "allocations, return", calls, on_return),
            probe(release, "releases", releases, entry(release)),
        ];
        probes[0].slow = is_slow(enter, targets);
        probes[2].slow = is_slow(release, targets);
        Ok(Cost { probes: probes.into(), target_time: Some(used) })
    }

    fn probe(&self, program: Program, name: &str, hits: u64, trap: u64) -> Probe {
        let program = self.times.as_ref().map_or(0, |times| times.nanoseconds(program));
        Probe { name: name.to_owned(), hits, nanoseconds_per_hit: trap + program, slow: false }
    }
}

/// Whether a program that nearly all calls run sits on an instruction that is single-stepped.
fn is_slow(program: Program, targets: &[Target]) -> bool {
    let mut probes = targets.iter().flat_map(|target| &target.plan_in_use);
    probes.any(|planned| {
        planned.program == program && planned.site.slow && is_hot(planned.site.function)
    })
}

/// Whether nearly all calls go to this function, so that its site decides the price.
fn is_hot(function: &str) -> bool {
    matches!(function, "malloc" | "free" | "calloc" | "realloc")
}
