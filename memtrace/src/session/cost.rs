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
    calibration: Calibration,
    times: Option<ProgramTimes>,
}

impl Meter {
    /// Calibrates the probes and begins to time the programs.
    pub fn start(kernel: &mut Kernel) -> Result<Self> {
        let calibration = kernel.calibrate()?;
        Ok(Self { calibration, times: kernel.time_programs().ok() })
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
    pub fn finish(&mut self, kernel: &Kernel, targets: &[Target]) -> Result<Cost> {
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
        let Calibration { fast, on_return, .. } = self.calibration;
        Ok(Cost {
            probes: vec![
                self.probe(Program::AllocationEnter, "allocations, entry", calls, fast, targets),
                self.probe(Program::AllocationReturn, "allocations, return", calls, on_return, &[]),
                self.probe(Program::Release, "releases", releases, fast, targets),
            ],
            target_time: Some(used),
        })
    }

    fn probe(
        &self,
        program: Program,
        name: &str,
        hits: u64,
        trap: u64,
        targets: &[Target],
    ) -> Probe {
        let slow = targets.iter().flat_map(|target| &target.probes).any(|(planned, _)| {
            planned.program == program && planned.site.slow && is_hot(planned.site.function)
        });
        let trap = if slow { self.calibration.slow } else { trap };
        let program = self.times.as_ref().map_or(0, |times| times.nanoseconds(program));
        Probe { name: name.to_owned(), hits, nanoseconds_per_hit: trap + program, slow }
    }
}

/// Whether nearly all calls go to this function, so that its site decides the price.
fn is_hot(function: &str) -> bool {
    matches!(function, "malloc" | "free" | "calloc" | "realloc")
}
