//! What is live, as recorded, for those who look at memory.

use std::collections::HashMap;

use memtrace_abi::allocation::place;

use super::{super::target::Target, Tracer};
use crate::decomposition::LiveBlocks;

/// The live allocations of the targets.
#[derive(Default)]
pub struct Live {
    /// By slot; `None`: they could not be read.
    known: Option<HashMap<u32, LiveBlocks>>,
    nothing: LiveBlocks,
}

impl Live {
    /// Those of a target, if they are known: since its probes are off, nobody knows what is live.
    pub fn of(&self, target: &Target) -> Option<&LiveBlocks> {
        let known = self.known.as_ref().filter(|_| target.shed.is_none())?;
        Some(known.get(&target.slot).unwrap_or(&self.nothing))
    }

    /// By slot.
    pub fn into_slots(self) -> HashMap<u32, LiveBlocks> {
        self.known.unwrap_or_default()
    }
}

impl Tracer {
    /// What is live now.
    pub fn live(&mut self) -> Live {
        let mut blocks: HashMap<u32, LiveBlocks> = HashMap::new();
        let visited = self.kernel.visit_live(|place, allocation| {
            // What files and shared memory hold is a use of its own.
            if place.kind != place::OTHER_MAPPING {
                blocks.entry(place.process).or_default().add(place, &allocation);
            }
        });
        if let Err(error) = &visited {
            self.notes.push(format!("How much of the live memory is resident: {error:#}."));
        }
        Live { known: visited.is_ok().then_some(blocks), ..Live::default() }
    }
}
