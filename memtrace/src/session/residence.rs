//! Whose the resident memory of a target is: the kernel's page map says what is resident, the
//! recorded touches say whose it is.

use std::{collections::BTreeMap, time::Instant};

use anyhow::Result;
use memtrace_abi::mapping::Range;

use crate::{
    pages::{Owner, Owners},
    process::{
        Process,
        mappings::Kind,
        memory::{PAGE_BYTES, Run},
        residency::{Residency, Resident},
    },
    profile::{Amount, PageKind, Residence},
};

/// The resident memory of a target by owner.
#[derive(Debug, Default)]
pub struct Settled {
    /// What belongs to whom.
    pub shares: BTreeMap<(PageKind, Owner), Amount>,
    /// How it is known.
    pub residence: Residence,
}

impl Settled {
    /// Of a process that runs.
    pub fn measure(process: &Process, owners: &Owners, deadline: Instant) -> Result<Self> {
        let mut settled = Self::default();
        settled.residence.is_measured = true;
        let memory = process.memory();
        for resident in &counted(&process.residency()?) {
            let mapping = resident.mapping.range;
            for run in memory.runs(mapping, deadline)?.iter().filter(|run| !run.is_swapped) {
                let kind = kind(resident, run);
                let parts = owners.of(run.range, mapping).into_iter();
                parts.for_each(|(part, owner)| settled.add(kind, owner, part));
            }
        }
        Ok(settled)
    }

    /// Of a process that has ended: what was seen to be touched and not given back.
    pub fn recorded(owners: &Owners) -> Self {
        let mut settled = Self::default();
        for (range, owner) in owners.estimated() {
            settled.add(PageKind::Mapped, owner, range);
        }
        settled
    }

    /// All of it.
    pub fn total(&self) -> Amount {
        self.shares.values().copied().sum()
    }

    /// The part of it that is shared memory.
    pub fn shared(&self) -> Amount {
        let shares = self.shares.iter().filter(|((kind, _), _)| *kind == PageKind::Shared);
        shares.map(|(_, amount)| *amount).sum()
    }

    fn add(&mut self, kind: PageKind, owner: Owner, part: Range) {
        let bytes = part.end - part.start;
        let Residence { touched, nearest, mapped, before, unknown, .. } = &mut self.residence;
        let sum = match owner {
            Owner::Touched(_) => touched,
            Owner::Nearest(_) => nearest,
            Owner::Mapped(_) => mapped,
            Owner::Before => before,
            Owner::Unknown => unknown,
        };
        *sum = sum.saturating_add(bytes);
        let objects = bytes / PAGE_BYTES;
        *self.shares.entry((kind, owner)).or_default() += Amount { bytes, objects };
    }
}

/// Notes what is in memory before anything is known of it.
pub fn note_before(process: &Process, owners: &mut Owners, deadline: Instant) -> Result<()> {
    let memory = process.memory();
    for resident in &counted(&process.residency()?) {
        for run in memory.runs(resident.mapping.range, deadline)? {
            owners.note_before(run.range);
        }
    }
    Ok(())
}

/// Mappings with memory that counts for the process.
fn counted(residency: &Residency) -> Vec<Resident> {
    let has_memory =
        |resident: &&Resident| resident.bytes > 0 || resident.swapped > 0 || resident.huge > 0;
    let is_counted = |resident: &&Resident| resident.mapping.kind() != Kind::Special;
    residency.mappings.iter().filter(has_memory).filter(is_counted).cloned().collect()
}

fn kind(resident: &Resident, run: &Run) -> PageKind {
    match resident.mapping.kind() {
        _ if resident.huge > 0 => PageKind::Huge,
        Kind::Heap => PageKind::Heap,
        Kind::Stack => PageKind::Stack,
        _ if run.is_file_or_shared && resident.is_shared_memory => PageKind::Shared,
        _ if run.is_file_or_shared => PageKind::File,
        Kind::File => PageKind::Data,
        _ => PageKind::Mapped,
    }
}
