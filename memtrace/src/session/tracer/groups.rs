//! The control groups of the targets at the end of tracing.

use std::collections::BTreeMap;

use super::Tracer;
use crate::{
    process::{
        groups::{Groups, own_limit},
        survey, survival,
    },
    profile::Group,
    report::units::Size,
};

/// That others were left less by what memtrace needed itself.
pub(super) fn own_share() -> Option<String> {
    let (path, limit) = own_limit(&Groups::find().ok()?)?;
    let (_, most) = survival::used();
    let (limit, most) = (Size(limit), Size(most));
    Some(format!(
        "memtrace ran inside the control group {path}, limit {limit}: its own memory, at most {most}, \
         counted there."
    ))
}

impl Tracer {
    /// The groups that limit the memory of those that still run, with their places in the order.
    /// Where there are none, or they cannot be read, nothing is known of limits.
    pub(super) fn groups(&self) -> Vec<Group> {
        let Ok(groups) = Groups::find() else { return Vec::new() };
        let mut found: BTreeMap<String, Group> = BTreeMap::new();
        for (index, target) in (0..).zip(self.targets.iter()) {
            let path = survey::cgroup(target.pid).filter(|_| target.ended.is_none());
            let Some(path) = path.filter(|path| path != "/") else { continue };
            let group = found.entry(path).or_default();
            group.processes.push(index);
        }
        let group = |(path, group): (String, Group)| {
            let memory = groups.memory(&path).ok()?;
            Some(Group {
                limit: memory.limit,
                usage: memory.usage,
                working_set: memory.working_set(),
                peak: memory.peak,
                // It was looked at once, so that the kernel's peak is all that is known.
                highest_working_set: 0,
                usual_working_set: memory.working_set(),
                kills: memory.kills,
                stat: memory.stat,
                path,
                ..group
            })
        };
        found.into_iter().filter_map(group).collect()
    }
}
