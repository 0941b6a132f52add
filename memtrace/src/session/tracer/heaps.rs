//! The heaps of the targets at the end of tracing.

use std::collections::HashMap;

use anyhow::Result;
use memtrace_abi::allocation::place;

use super::{super::fragmentation::Fragmentation, Tracer};

impl Tracer {
    /// Who pins free memory in each target that still runs, by slot.
    pub(super) fn read_heaps(&mut self) -> Result<Vec<(u32, Fragmentation)>> {
        let mut stacks = HashMap::new();
        self.kernel.visit_live(|place, allocation| {
            if place.kind == place::BLOCK {
                stacks.insert((place.process, place.address), allocation.stack);
            }
        })?;
        let mut heaps = Vec::new();
        for target in self.targets.iter().filter(|target| target.ended.is_none()) {
            let slot = target.slot;
            let stack_of = |address| stacks.get(&(slot, address)).copied();
            match Fragmentation::read(&target.process, stack_of) {
                Ok(heap) => heaps.push((slot, heap)),
                Err(error) => {
                    let pid = target.pid();
                    self.notes.push(format!("no heap of process {pid} to show: {error:#}"));
                }
            }
        }
        Ok(heaps)
    }
}
