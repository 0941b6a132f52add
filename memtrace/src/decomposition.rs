//! What the resident memory of a process consists of: from the kernel's account of its mappings
//! and what was recorded as live to classes that add up. Asks [`process`](crate::process) and
//! [`objects`](crate::objects), and refuses to read anything itself.

mod classes;
mod live;
mod segments;
mod threads;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Result;

pub use self::live::LiveBlocks;
use self::segments::SharedMapping;
use crate::{
    heap,
    objects::Objects,
    process::Process,
    profile::{Allocator, Amount, Decomposition, Segment},
};

/// How long the pages of large blocks, of shared memory and of stacks may be looked at.
const PATIENCE: Duration = Duration::from_secs(1);

/// One look at the memory of a process.
pub struct Look {
    /// What is resident.
    pub decomposition: Decomposition,
    /// Live memory that is not, by the stack that allocated it.
    pub absent: HashMap<u64, Amount>,
    process: Process,
    shared: Vec<SharedMapping>,
}

impl Look {
    /// Looks at a process whose files are known, of which these allocations are known to be live,
    /// and of whose heap this account was made; `None`: not known.
    pub fn at(
        process: &Process,
        objects: &Objects,
        live: Option<&LiveBlocks>,
        heap: Option<&heap::Account>,
    ) -> Result<Self> {
        let residency = process.residency()?;
        let deadline = Instant::now() + PATIENCE;
        let count = |range| process.memory().resident(range, deadline).unwrap_or(0);
        let segment_end = |mapping: &_| objects.segment_end(mapping);
        let stack_end = |range| threads::stack_end(&process.memory(), range, deadline);
        let mut measured = classes::measure(&residency, count, segment_end, stack_end);
        let presence = live.map(|live| live.measure(process));
        measured.live = presence.as_ref().map(|presence| presence.live);
        measured.allocator = heap.map(|heap| Allocator {
            overhead: heap.own + live.map_or(0, LiveBlocks::overhead),
            free: heap.free_resident(),
        });
        let sum =
            |of: fn(&_) -> u64| residency.mappings.iter().map(of).fold(0, u64::saturating_add);
        let decomposition = Decomposition {
            swapped: sum(|resident| resident.swapped),
            huge: sum(|resident| resident.huge),
            transparent: sum(|resident| resident.transparent),
            moved: residency.moved,
            ..Decomposition::new(&measured)
        };
        let shared = segments::shared_mappings(&residency);
        let absent = presence.unwrap_or_default().absent;
        Ok(Self { decomposition, absent, process: process.clone(), shared })
    }
}

/// The shared memory that processes have mapped, by segment, each page counted once. A look comes
/// with the index of its process in the profile.
#[must_use]
pub fn segments(looks: &[(u32, &Look)]) -> Vec<Segment> {
    segments::count(looks)
}
