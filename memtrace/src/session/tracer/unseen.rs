//! Whose allocations are not seen, for the reader of the report.

use super::{NoAllocator, Targets};
use crate::report::units::Things;

/// Those whose allocations are not seen, one sentence for each; the descendants of others in one.
pub(super) fn unseen(targets: &Targets) -> Vec<String> {
    let blind = targets.iter().filter(|target| !target.has_allocator());
    let (descendants, roots): (Vec<_>, Vec<_>) = blind.partition(|target| target.parent.is_some());
    let mut notes: Vec<_> = roots
        .into_iter()
        .map(|target| match &target.refusal {
            Some(refusal) => refusal.to_string(),
            None => NoAllocator::of(target).to_string(),
        })
        .collect();
    if let [first, ..] = &*descendants {
        let (count, comm) = (Things(descendants.len() as u64, "descendant"), &first.comm);
        notes.push(format!(
            "{count} had no allocator that could be seen, or ended too soon to find it: \
             {comm} ({}), for one",
            first.pid
        ));
    }
    notes
}
