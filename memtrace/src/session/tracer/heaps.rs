//! The heaps of the targets at the end of tracing.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;
use memtrace_abi::allocation::place;

use super::{super::fragmentation::Fragmentation, Tracer};
use crate::{
    heap::{Account, Chunk, Heap},
    process::Process,
    report::units::Things,
};

/// What all heaps together may take, where nobody asked for them.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

impl Tracer {
    /// Who pins free memory in each target that still runs, by slot.
    pub(super) fn read_heaps(&mut self) -> Result<Vec<(u32, Fragmentation)>> {
        let mut stacks = HashMap::new();
        self.kernel.visit_live(|place, allocation| {
            if place.kind == place::BLOCK {
                stacks.insert((place.process, place.address), allocation.stack);
            }
        })?;
        let (mut heaps, mut gone) = (Vec::new(), 0);
        for target in self.targets.iter().filter(|target| target.ended.is_none()) {
            let slot = target.slot;
            let stack_of = |address| stacks.get(&(slot, address)).copied();
            match Fragmentation::read(&target.process, stack_of) {
                Ok(heap) => heaps.push((slot, heap)),
                Err(_) if target.is_gone() => gone += 1,
                Err(error) => {
                    let pid = target.pid;
                    self.notes.push(format!("no heap of process {pid} to show: {error:#}"));
                }
            }
        }
        if gone > 0 {
            let gone = Things(gone, "process");
            self.notes
                .push(format!("{gone} ended before the heap was read: there is none to show."));
        }
        Ok(heaps)
    }
}

/// What glibc's malloc has in a process; `None`: another allocator is in use, or it is late.
pub(super) fn account(process: &Process, deadline: Instant) -> Option<Account> {
    let left = deadline.checked_duration_since(Instant::now())?;
    let heap = Heap::of_process(process, &process.mappings().ok()?, left).ok()?;
    Some(heap.accounts(&mut |_: &Chunk, _| {}).total)
}
