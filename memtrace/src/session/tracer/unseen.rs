//! Whose allocations are not seen, for the reader of the report.

use super::{NoAllocator, Targets};
use crate::report::units::{Count, Things};

/// Those whose allocations are not seen, one sentence for each; the descendants of others in one.
pub(super) fn unseen(targets: &Targets) -> Vec<String> {
    let unread = targets.iter().filter(|target| target.is_unread());
    let blind = targets.iter().filter(|target| !target.has_allocator() && !target.is_unread());
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
    let first = unread.clone().next();
    notes.extend(first.map(|first| too_soon(unread.count() as u64, first.pid)));
    notes
}

fn too_soon(count: u64, pid: u32) -> String {
    format!(
        "{} over before memtrace had read what they have mapped, as in process {pid}: what they \
         allocated is counted, without their names and without native frames.",
        if count == 1 {
            "1 program was".to_owned()
        } else {
            format!("{} programs were", Count(count))
        }
    )
}
