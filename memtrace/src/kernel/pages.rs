//! What the kernel programs tell about the memory of processes: mappings and touched pages.

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf,
    maps::{Array, MapData, RingBuf},
    programs::BtfTracePoint,
};
use memtrace_abi::pages::{Event, Faults as Counts};

use super::{event::read, take};

/// The program that sees system calls, and where it is put.
const SYSTEM_CALLS: (&str, &str) = ("system_call_return", "sys_exit");

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

/// Loads and attaches the program that sees system calls. The kernel takes it off with the object.
pub(super) fn watch_system_calls(ebpf: &mut Ebpf) -> Result<()> {
    let types = Btf::from_sys_fs().context("read the kernel's types")?;
    let (name, tracepoint) = SYSTEM_CALLS;
    let program: &mut BtfTracePoint = ebpf
        .program_mut(name)
        .with_context(|| format!("no program {name} in the object"))?
        .try_into()?;
    program.load(tracepoint, &types).with_context(|| format!("load the kernel program {name}"))?;
    program.attach().with_context(|| format!("attach to the tracepoint {tracepoint}"))?;
    Ok(())
}
