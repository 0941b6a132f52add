//! Makes room in the maps: what is only about processes that are gone goes away. The programs add
//! nothing for a process that is gone, so nobody uses what is removed. Stacks stay: others may share
//! them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use aya::{Ebpf, Pod, maps::HashMap};
use memtrace_abi::{
    allocation::{Allocation, Place},
    process::{Process, ProcessTotals},
};

use super::{Kernel, batch::Entries, counts::Counts};

/// What the loader can forget as well.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// Numbers of Python code objects.
    pub codes: Vec<u32>,
}

/// Key of a code object: its address, a hash of its contents, the slot of its process.
type CodeKey = [u64; 3];
/// Key of a page of unknown code: the slot of its process, and the page.
type PageKey = [u64; 2];

impl Kernel {
    /// Gives a slot back.
    pub fn give_slot(&mut self, slot: u32) -> Result<()> {
        self.free_slots.push(slot, 0).context("give a process slot back")
    }

    /// Forgets everything that was counted for slots whose processes are gone, so that others can
    /// have the slots.
    pub fn forget(&mut self, slots: &BTreeSet<u32>) -> Result<Forgotten> {
        for slot in slots {
            self.processes.set(*slot, Process::default(), 0).context("clear a process slot")?;
            // Programs that are executed begin in free slots before the loader knows of them.
            self.pages.set_heap_end(*slot, 0)?;
        }
        let forgotten = codes(&mut self.ebpf, slots)?;
        self.counts.forget(slots)?;
        allocations(&mut self.allocations, slots)?;
        slots.iter().try_for_each(|slot| self.give_slot(*slot))?;
        Ok(forgotten)
    }
}

/// Removes the code objects and the unknown pages of slots.
fn codes(ebpf: &mut Ebpf, slots: &BTreeSet<u32>) -> Result<Forgotten> {
    let is_gone = |slot: u64| u32::try_from(slot).is_ok_and(|slot| slots.contains(&slot));
    let codes = remove(ebpf, "CODES", |[_, _, slot]: &CodeKey| is_gone(*slot))?;
    remove(ebpf, "REPORTED", |[slot, _]: &PageKey| is_gone(*slot))?;
    Ok(Forgotten { codes })
}

/// Removes entries of a map; returns what they held.
fn remove<K: Pod>(ebpf: &mut Ebpf, name: &str, is_gone: impl Fn(&K) -> bool) -> Result<Vec<u32>> {
    let map = ebpf.map_mut(name).with_context(|| format!("no map {name} in the object"))?;
    let mut map: HashMap<_, K, u32> =
        HashMap::try_from(map).with_context(|| format!("open {name}"))?;
    let entries = map.iter().filter_map(Result::ok);
    let gone: Vec<_> = entries.filter(|(key, _)| is_gone(key)).collect();
    for (key, _) in &gone {
        // The kernel itself may have made room there.
        let _ = map.remove(key);
    }
    Ok(gone.into_iter().map(|(_, value)| value).collect())
}

impl Counts {
    /// Removes the totals of slots.
    pub(super) fn forget(&mut self, slots: &BTreeSet<u32>) -> Result<()> {
        for slot in slots {
            let none = ProcessTotals::default();
            self.processes.set(*slot, none, 0).context("clear the totals of a process")?;
        }
        let mut gone = Vec::new();
        self.totals.visit(|key, _| {
            if slots.contains(&key.process) {
                gone.push(key);
            }
        })?;
        self.totals.remove(&gone)
    }
}

/// Removes the live allocations of slots.
fn allocations(live: &mut Entries<Place, Allocation>, slots: &BTreeSet<u32>) -> Result<()> {
    let mut gone = Vec::new();
    live.visit(|place, _| {
        if slots.contains(&place.process) {
            gone.push(place);
        }
    })?;
    live.remove(&gone)
}
