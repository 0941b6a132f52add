//! How long the kernel programs run, by the kernel's own statistics (Linux 5.8).

use std::{collections::HashMap, os::fd::OwnedFd};

use anyhow::{Context as _, Result};
use aya::sys::{Stats, enable_stats};

use super::{Kernel, faults, probes::program_name};
use crate::attach::plan::Program;

/// Mean run times. The kernel gathers them while this has not been stopped.
pub struct ProgramTimes {
    gathering: Option<OwnedFd>,
    nanoseconds: HashMap<String, u64>,
}

impl ProgramTimes {
    pub(super) fn start() -> Result<Self> {
        let gathering = enable_stats(Stats::RunTime).context("enable the programs' statistics")?;
        Ok(Self { gathering: Some(gathering), nanoseconds: HashMap::new() })
    }

    /// Ends the gathering and keeps the means.
    pub fn stop(&mut self, kernel: &Kernel) {
        self.update(kernel);
        self.gathering = None;
    }

    /// Takes the means so far, unless stopped.
    pub fn update(&mut self, kernel: &Kernel) {
        if self.gathering.is_none() {
            return;
        }
        for (name, program) in kernel.ebpf.programs() {
            let Ok(info) = program.info() else { continue };
            let time = info.run_time().as_nanos() as u64;
            if let Some(mean) = time.checked_div(info.run_count()) {
                self.nanoseconds.insert(name.to_owned(), mean);
            }
        }
    }

    /// Mean nanoseconds of a run; 0 if it never ran.
    #[must_use]
    pub fn nanoseconds(&self, program: Program) -> u64 {
        self.mean(program_name(program))
    }

    /// Mean nanoseconds for a page fault that is recorded; 0 if none was.
    #[must_use]
    pub fn nanoseconds_of_fault(&self) -> u64 {
        self.mean(faults::PROGRAM)
    }

    fn mean(&self, name: &str) -> u64 {
        self.nanoseconds.get(name).copied().unwrap_or_default()
    }
}
