//! pymalloc's arenas by how full they are. An arena goes back to the system once nothing in it is in
//! use, so what matters of one that is nearly empty is which objects keep it.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::PythonObjects;
use crate::{
    inventory::{Arena, Inventory, Limits},
    process::{Process, mappings::Mappings, memory::Memory},
    python::Interpreter,
};

/// Arenas are told apart by how much of them is in use: less than so many hundredths.
const BOUNDS: [u64; 4] = [10, 50, 90, 101];
/// Types that are named.
const TYPES: usize = 3;

/// Arenas that are about as full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArenaGroup {
    /// The bounds of what is in use of each, in hundredths: at least, and less than. `None`: there was
    /// no time to look at all of them.
    pub percent: Option<(u64, u64)>,
    /// How many they are.
    pub count: u64,
    /// Bytes of them that are in memory; `None` if that could not be looked at.
    pub resident: Option<u64>,
    /// Bytes of their blocks in use; at least so many where there was no time.
    pub used: u64,
    /// Names of the types of which most is in them, and their objects there; at most three.
    pub types: Vec<(String, u64)>,
}

/// Bytes of each arena that are in memory; `None` if not all could be looked at.
pub(super) fn arena_bytes(
    memory: &Memory,
    inventory: &Inventory,
    deadline: Instant,
) -> Option<Vec<u64>> {
    let resident = |arena: &Arena| memory.resident(arena.range, deadline).ok();
    inventory.arenas.iter().map(resident).collect()
}

impl PythonObjects {
    /// What is in the arenas of a process, and nothing else; `None`: it runs no Python.
    pub fn of_arenas(
        process: &Process,
        mappings: &Mappings,
        time: Duration,
    ) -> Result<Option<Self>> {
        let deadline = Instant::now() + time;
        let Some(interpreter) = Interpreter::of_process(process, mappings)? else {
            return Ok(None);
        };
        // References need not be followed: blocks of arenas are looked at one by one.
        let limits = Limits { time, objects: 0, listed: 0, ..Limits::default() };
        let inventory = Inventory::of_process(process, &interpreter, &limits)?;
        let arena_bytes = arena_bytes(&process.memory(), &inventory, deadline);
        let (arrays, buffers) = (Vec::new(), Vec::new());
        Ok(Some(Self { inventory, arrays, buffers, arena_bytes }))
    }

    /// Arenas by how full they are, the emptiest first, and those that were not looked at.
    #[must_use]
    pub fn arenas_by_use(&self) -> Vec<ArenaGroup> {
        let least = [0].into_iter().chain(BOUNDS);
        let percents = least.zip(BOUNDS).map(Some).chain([None]);
        let groups = percents.map(|percent| self.group(percent));
        groups.filter(|group| group.count > 0).collect()
    }

    fn group(&self, percent: Option<(u64, u64)>) -> ArenaGroup {
        let mut group = ArenaGroup { percent, resident: Some(0), ..ArenaGroup::default() };
        let mut types = BTreeMap::new();
        let arenas = self.inventory.arenas.iter().enumerate();
        let alike = arenas.filter(|(_, arena)| match percent {
            Some((least, below)) => arena.is_read && (least..below).contains(&used_percent(arena)),
            None => !arena.is_read,
        });
        for (number, arena) in alike {
            let resident = self.arena_bytes.as_ref().and_then(|bytes| bytes.get(number));
            group.count += 1;
            group.used += arena.used_bytes;
            group.resident = group.resident.zip(resident).map(|(sum, bytes)| sum + bytes);
            for (of, count) in &arena.types {
                *types.entry(*of).or_default() += u64::from(*count);
            }
        }
        group.types = self.named(types);
        group
    }

    fn named(&self, types: BTreeMap<usize, u64>) -> Vec<(String, u64)> {
        let mut types: Vec<_> = types.into_iter().collect();
        types.sort_by_key(|(_, count)| Reverse(*count));
        let all = &self.inventory.types;
        let named =
            types.into_iter().filter_map(|(of, count)| Some((all.get(of)?.name.clone(), count)));
        named.take(TYPES).collect()
    }
}

fn used_percent(arena: &Arena) -> u64 {
    let size = arena.range.end.saturating_sub(arena.range.start).max(1);
    (arena.used_bytes * 100 / size).min(100)
}
