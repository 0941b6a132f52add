//! Memory of the victim that the report knows nothing of but its size.

use super::{Elapsed, Size};
use crate::profile::{Amounts, Incident, Profile};

/// How much that is, and why.
pub(super) fn remark(incident: &Incident, profile: &Profile) -> Option<String> {
    let rss = incident.counted?.resident.sum();
    let index = incident.process?;
    let process = profile.processes.get(index as usize)?;
    let own = profile.stacks.iter().filter(|stack| stack.process == index);
    let Amounts { live, resident, .. } = own.map(|stack| stack.amounts).sum();
    let unseen = rss.saturating_sub(live.bytes.max(resident.bytes));
    let traced = Elapsed(process.traced(profile.session.duration));
    (unseen > rss / 10).then(|| {
        let unseen = Size(unseen);
        format!("{unseen} of the victim's RSS was never looked at: it was traced for its last {traced} only.")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::profile::{Amount, Builder, ByKind, Counted, Process, Session};

    #[test]
    fn memory_that_was_never_looked_at_is_told_of() {
        let remark_of = |live: u64, process| {
            let mut builder = Builder::new(Session::default());
            let [began, ended] = [3_790, 3_800].map(Duration::from_millis);
            let victim = Process { began, ended: Some(ended), ..Process::default() };
            let index = builder.add_process(victim);
            let live = Amount { bytes: live << 20, objects: 1 };
            builder.add_stack(index, Vec::new(), Amounts { live, ..Amounts::default() });
            let resident = ByKind { anonymous: 200 << 20, ..ByKind::default() };
            let counted = Some(Counted { resident, ..Counted::default() });
            remark(&Incident { process, counted, ..Incident::default() }, &builder.finish())
        };
        assert_eq!(remark_of(190, Some(0)), None);
        let text = remark_of(10, Some(0)).unwrap();
        assert!(text.starts_with("190 MiB of the victim's RSS was never looked at"), "{text}");
        assert!(text.ends_with("it was traced for its last 10 ms only."), "{text}");
        assert_eq!(remark_of(10, None), None, "that it was not traced is told before");
    }
}
