//! Whose the resident memory of a target is: the kernel's page map says what is resident, the
//! recorded touches say whose it is.

use std::{collections::BTreeMap, time::Instant};

use crate::{
    pages::{Holders, Likelihood, Owner, Owners, Piece},
    process::{
        Process,
        mappings::Kind,
        memory::PAGE_BYTES,
        residency::{Residency, Resident},
    },
    profile::{Amount, ByKind, PageKind, Residence},
};
use anyhow::Result;

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
    pub fn measure(
        process: &Process,
        owners: &Owners,
        holders: &Holders,
        deadline: Instant,
    ) -> Result<Self> {
        let mut settled = Self::default();
        settled.residence.is_measured = true;
        let memory = process.memory();
        for resident in &counted(&process.residency()?) {
            let mapping = resident.mapping.range;
            let runs = memory.runs(mapping, deadline)?;
            for run in runs.list.iter().filter(|run| !run.is_swapped) {
                let kind = kind(resident, run.is_file_or_shared);
                let parts = owners.of(run.range, mapping, holders).into_iter();
                parts.for_each(|(part, owner)| settled.add(kind, owner, part.end - part.start));
            }
            if !runs.is_complete {
                let unseen = resident.bytes.saturating_sub(runs.resident());
                settled.add(kind(resident, resident.anonymous == 0), Owner::Unknown, unseen);
            }
        }
        Ok(settled)
    }

    /// Of a process that has ended, by its last RSS by kind: what was likeliest in memory, up to
    /// that. Without it, what was touched or lies between.
    pub fn estimate(owners: &Owners, last: Option<ByKind>) -> Self {
        let mut settled = Self::default();
        let pieces = owners.pieces();
        for (kind, is_anonymous) in [(PageKind::Anonymous, true), (PageKind::Backed, false)] {
            let of_kind = pieces.iter().filter(|(piece, _)| piece.is_anonymous == is_anonymous);
            let limit = last.map(|last| match kind {
                PageKind::Anonymous => last.anonymous,
                _ => last.file.saturating_add(last.shared),
            });
            let parts = divide(of_kind.map(|(piece, bytes)| (*piece, *bytes)), limit);
            for (owner, bytes) in parts {
                settled.add(kind, owner, bytes);
            }
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

    fn add(&mut self, kind: PageKind, owner: Owner, bytes: u64) {
        let Residence { touched, held, nearest, mapped, before, unknown, .. } = &mut self.residence;
        let sum = match owner {
            Owner::Touched(_) => touched,
            Owner::Holder(_) => held,
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

/// Divides what was resident: to what is likeliest first, and in equal shares of what is as likely.
fn divide(pieces: impl Iterator<Item = (Piece, u64)>, limit: Option<u64>) -> Vec<(Owner, u64)> {
    let mut classes: BTreeMap<Likelihood, Vec<(Owner, u64)>> = BTreeMap::new();
    for (piece, bytes) in pieces {
        classes.entry(piece.likelihood).or_default().push((piece.owner, bytes));
    }
    let Some(mut rest) = limit else {
        let certain = classes.range(..=Likelihood::Between);
        return certain.flat_map(|(_, parts)| parts.clone()).collect();
    };
    let mut shares = Vec::new();
    for parts in classes.into_values() {
        let sum: u64 = parts.iter().map(|(_, bytes)| bytes).sum();
        let (most, mut given) = (rest.min(sum), 0);
        for (owner, bytes) in parts {
            let part = u128::from(bytes) * u128::from(most) / u128::from(sum.max(1));
            // Whole pages; what that leaves is shared out below.
            let part = part as u64 / PAGE_BYTES * PAGE_BYTES;
            given += part;
            shares.push((owner, part));
        }
        rest -= given;
    }
    shares.push((Owner::Unknown, rest));
    shares.retain(|(_, bytes)| *bytes > 0);
    shares
}

/// Notes what is in memory before anything is known of it. Whether there was time for all of it.
pub fn note_before(process: &Process, owners: &mut Owners, deadline: Instant) -> Result<bool> {
    let (memory, mut is_complete) = (process.memory(), true);
    for resident in &counted(&process.residency()?) {
        let runs = memory.runs(resident.mapping.range, deadline)?;
        runs.list.iter().for_each(|run| owners.note_before(run.range));
        is_complete &= runs.is_complete;
    }
    Ok(is_complete)
}

/// Mappings with memory that counts for the process, those first that are seen in the least time.
fn counted(residency: &Residency) -> Vec<Resident> {
    let has_memory =
        |resident: &&Resident| resident.bytes > 0 || resident.swapped > 0 || resident.huge > 0;
    let is_counted = |resident: &&Resident| resident.mapping.kind() != Kind::Special;
    let counted = residency.mappings.iter().filter(has_memory).filter(is_counted);
    let mut counted: Vec<_> = counted.cloned().collect();
    counted.sort_by_key(|resident| resident.mapping.range.end - resident.mapping.range.start);
    counted
}

fn kind(resident: &Resident, is_file_or_shared: bool) -> PageKind {
    match resident.mapping.kind() {
        _ if resident.huge > 0 => PageKind::Huge,
        Kind::Heap => PageKind::Heap,
        Kind::Stack => PageKind::Stack,
        _ if is_file_or_shared && resident.is_shared_memory => PageKind::Shared,
        _ if is_file_or_shared => PageKind::File,
        Kind::File => PageKind::Data,
        _ => PageKind::Mapped,
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::pages::{Event, kind, mapped};

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Two mappings, one of 4 MiB and one of 1 MiB; of each the first page was seen to be touched.
    fn owners() -> Owners {
        let mut owners = Owners::default();
        let detail = mapped::ANONYMOUS | mapped::FILLED;
        for (stack, start, size) in [(1, 16 * MIB, 4 * MIB), (2, 32 * MIB, MIB)] {
            let event = Event { start, size, stack, detail, ..Event::default() };
            owners.apply(&Event { kind: kind::MAPPED, ..event });
            owners.apply(&Event { kind: kind::TOUCHED, detail: 1, ..event });
        }
        owners
    }

    fn of(settled: &Settled, stack: Option<u64>) -> u64 {
        let shares = settled.shares.iter().filter(|((_, owner), _)| owner.stack() == stack);
        shares.map(|(_, amount)| amount.bytes).sum()
    }

    #[test]
    fn of_the_dead_all_that_was_resident_is_divided() {
        let last = ByKind { anonymous: 6 * MIB, shared: 0, file: 2 * MIB };
        let settled = Settled::estimate(&owners(), Some(last));
        assert_eq!((of(&settled, Some(1)), of(&settled, Some(2))), (4 * MIB, MIB));
        assert_eq!((of(&settled, None), settled.total().bytes), (3 * MIB, 8 * MIB));
    }

    #[test]
    fn not_more_is_divided_than_was_resident() {
        let last = ByKind { anonymous: 2 * MIB, shared: 0, file: 0 };
        let settled = Settled::estimate(&owners(), Some(last));
        assert_eq!(settled.total().bytes, 2 * MIB);
        let percent = 100 * of(&settled, Some(1)) / of(&settled, Some(2));
        assert!((390..410).contains(&percent), "{percent}");
    }
}
