//! What the kernel programs tell about the memory of processes: mappings and touched pages.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, MapData, RingBuf},
};
use memtrace_abi::pages::{Event, Faults as Counts};

use super::{event::read, take};

/// The maps, and the events that have come in.
pub(super) struct Pages {
    events: RingBuf<MapData>,
    faults: Array<MapData, Counts>,
    heap_ends: Array<MapData, u64>,
}

impl Pages {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        Ok(Self {
            events: take(ebpf, "PAGE_EVENTS")?,
            faults: take(ebpf, "FAULTS")?,
            heap_ends: take(ebpf, "HEAP_ENDS")?,
        })
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            let record = self.events.next()?;
            if let Some(event) = read(&record) {
                return Some(event);
            }
        }
    }

    pub(super) fn faults(&self, slot: u32) -> Result<Counts> {
        self.faults.get(&slot, 0).context("read the count of page faults")
    }

    /// Allows as many more faults to be recorded, and begins to count anew.
    pub(super) fn allow(&mut self, slot: u32, allowed: u64) -> Result<()> {
        let counts = Counts { allowed, recorded: 0, skipped: 0 };
        self.faults.set(slot, counts, 0).context("allow page faults to be recorded")
    }

    pub(super) fn set_heap_end(&mut self, slot: u32, end: u64) -> Result<()> {
        self.heap_ends.set(slot, end, 0).context("write the end of a heap")
    }
}
