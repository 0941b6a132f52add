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

    /// Those of the planned probes of a file that are not there yet. The kernel knows files by their
    /// inodes, so what was probed before the file was overwritten is probed in what it is now.
    pub(super) fn without_probes(
        &mut self,
        objects: &Objects,
        number: u32,
        planned: &[PlannedProbe],
    ) -> Vec<PlannedProbe> {
        let formers = objects.formers(number).filter(|former| self.covered.contains(former));
        let formers: Vec<_> = formers.filter_map(|former| objects.known(former)).collect();
        let mut probed = formers.iter().flat_map(|former| &former.plan.probes);
        let is_there = |probe: &PlannedProbe| {
            probed.clone().any(|other| {
                (other.program, other.site.file_offset) == (probe.program, probe.site.file_offset)
            })
        };
        let missing = planned.iter().filter(|probe| !is_there(probe)).cloned().collect();
        if probed.next().is_some() && formers.iter().any(|former| former.object.is_another_build())
        {
            self.notes.extend(objects.known(number).map(overwritten));
        }
        missing
    }
}

/// Of an allocator.
fn overwritten(known: &Known) -> String {
    format!(
        "{} was overwritten while it was probed: what its allocator did since may be told wrong. To replace \
         a file by renaming another one (install, mv) is safe.",
        known.name()
    )
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
