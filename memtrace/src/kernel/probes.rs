//! Attaching the programs to functions of one process, and taking them off again.

use std::{
    num::NonZeroU32,
    path::Path,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{
        Link as _, UProbe,
        uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope},
    },
};

use crate::attach::plan::Program;

/// The program's name in the object.
pub(super) const fn program_name(program: Program) -> &'static str {
    match program {
        Program::AllocationEnter => "allocation_enter",
        Program::AllocationReturn => "allocation_return",
        Program::Release => "release_enter",
        Program::LibrariesChanged => "libraries_changed",
    }
}

/// The name of the program that does nothing where `program` would run.
pub(super) const fn empty_program_name(program: Program) -> &'static str {
    match program {
        Program::AllocationReturn => "empty_return",
        _ => "empty_enter",
    }
}

/// Where a probe goes.
#[derive(Clone, Copy, Debug)]
pub struct Point<'file> {
    /// The only process in which the probe fires.
    pub process_id: u32,
    /// The file; best a path that names an open file, so that it is that very one.
    pub file: &'file Path,
    /// Bytes into the file.
    pub offset: u64,
    /// What the program is told.
    pub cookie: u64,
}

/// A probe; it is taken off when this is dropped.
pub struct Probe {
    link: Option<UProbeLink>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            // Closing the file descriptor is all it does; there is nothing to be done on failure.
            let _ = link.detach();
        }
    }
}

/// Attaches one probe, by the program's name.
pub(super) fn attach(ebpf: &mut Ebpf, name: &str, point: Point<'_>) -> Result<Probe> {
    let program: &mut UProbe = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name} in the object"))?
        .try_into()
        .with_context(|| format!("program {name} is not a uprobe"))?;
    let process_id = NonZeroU32::new(point.process_id).context("process 0 cannot be probed")?;
    let location = UProbeAttachLocation::AbsoluteOffset(point.offset);
    let link = program.attach(
        UProbeAttachPoint { location, cookie: Some(point.cookie) },
        point.file,
        UProbeScope::OneProcess(process_id),
    )?;
    let link = program.take_link(link).context("take the new link")?;
    Ok(Probe { link: Some(link) })
}

/// Takes probes off in the background. The kernel takes a tenth of a second for each, one after
/// the other, to be sure that nobody runs it.
#[must_use]
pub fn detach(probes: Vec<Probe>) -> JoinHandle<()> {
    thread::spawn(|| drop(probes))
}
