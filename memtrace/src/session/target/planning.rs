//! Which probes a process gets, of the allocators that it has mapped.

use super::{super::probes::Probes, PlannedProbe, Target};
use crate::{
    objects::{Known, Objects},
    process::mappings::Mappings,
};

impl Target {
    /// Probes of allocators that are mapped and were not before.
    pub(super) fn plan(
        &mut self,
        objects: &Objects,
        probes: &mut Probes,
        mappings: &Mappings,
    ) -> Vec<(u32, Vec<PlannedProbe>)> {
        let mut planned = Vec::new();
        for mapping in mappings.list.iter().filter(|mapping| mapping.permissions.is_executable()) {
            let Some(number) = objects.number(mapping) else { continue };
            let Some(known) = objects.known(number) else { continue };
            if known.plan.probes.is_empty() || !self.planned.insert(number) {
                continue;
            }
            for skipped in &known.plan.skipped {
                self.notes.push(format!("In {}, {skipped}.", known.name()));
            }
            self.notes.extend(slowness(known));
            planned.push((number, probes.plan(number, known)));
        }
        // What is hit most comes last: a task that exits closes its files from the last to the first
        // (Linux 6.18, `task_work_run`), and so it is the first to be taken off.
        let is_usual = |probe: &PlannedProbe| probe.site.function == "malloc";
        planned.sort_by_key(|(_, probes)| probes.iter().any(is_usual));
        planned
    }
}

/// Which probes of a file cost more than most, if any do.
fn slowness(known: &Known) -> Option<String> {
    let functions = known.plan.slow_functions().join(", ");
    (!functions.is_empty()).then(|| {
        format!(
            "In {}, probes are single-stepped, at some 10 us a call: {functions}. The share of probes \
             counts that price only where there are no others.",
            known.name()
        )
    })
}
