//! Empty programs on malloc and free of a process: at the sites that memtrace picks, or at the
//! functions' first instructions, where other tools put theirs.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use memtrace::{
    attach::plan::{Probe as Planned, Program},
    kernel::{self, Kernel, Point, Probe},
    objects::Objects,
    process::Process,
};

/// Which instruction of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The one that memtrace picks.
    Site,
    /// The first one.
    Symbol,
}

/// What is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// free.
    Free,
    /// malloc, its entry only.
    Entry,
    /// malloc, entry and return.
    EntryAndReturn,
    /// All that memtrace itself probes: malloc, entry and return, and free.
    Plan,
}

/// Kernel programs, and the C library of one process.
pub struct Empty {
    kernel: Kernel,
    process_id: u32,
    file: PathBuf,
    plan: Vec<Planned>,
    _open: Objects,
}

impl Empty {
    /// Loads the kernel programs and plans the probes of a process.
    pub fn prepare(process_id: u32) -> Result<Self> {
        let process = Process::open(process_id)?;
        let mut objects = Objects::with_cache();
        objects.learn(&process, &process.mappings()?);
        let libc = objects.iter().find(|known| known.plan.has_allocator());
        let libc = libc.context("find the allocator of the workload")?;
        let options =
            kernel::Options { max_live: 1024, max_stacks: 1024, max_rows: 2, sample_interval: 0 };
        Ok(Self {
            kernel: Kernel::load(&options)?,
            process_id,
            file: libc.open_path().context("name the open C library")?,
            plan: libc.plan.probes.clone(),
            _open: objects,
        })
    }

    /// Attaches; the probes are taken off when they are dropped.
    pub fn attach(&mut self, place: Place, what: What) -> Result<Vec<Probe>> {
        let wanted = self.plan.iter().filter(|probe| what.includes(probe)).cloned();
        let wanted: Vec<_> = wanted.collect();
        wanted.into_iter().map(|probe| self.attach_one(place, &probe)).collect()
    }

    fn attach_one(&mut self, place: Place, probe: &Planned) -> Result<Probe> {
        let site = &probe.site;
        let into_function = if place == Place::Site { 0 } else { site.address - site.entry };
        let point = Point {
            process_id: self.process_id,
            file: &self.file,
            offset: site.file_offset - into_function,
            cookie: 0,
        };
        let attached = self.kernel.attach_empty(probe.program, point);
        attached.with_context(|| format!("attach an empty program to {}", site.function))
    }
}

impl What {
    fn includes(self, probe: &Planned) -> bool {
        match (probe.site.function, probe.program) {
            ("free", Program::Release) => matches!(self, Self::Free | Self::Plan),
            ("malloc", Program::AllocationEnter) => self != Self::Free,
            ("malloc", Program::AllocationReturn) => {
                matches!(self, Self::EntryAndReturn | Self::Plan)
            }
            _ => false,
        }
    }
}
