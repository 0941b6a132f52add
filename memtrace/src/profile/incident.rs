//! Why the profile of a process was written down: it was killed, or was about to be.

use std::{cmp::Reverse, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ByKind, Group, printable};

/// A kill, or the danger of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When, in milliseconds since 1970.
    pub at_millis: u64,
    /// What happened.
    pub cause: Cause,
    /// Process id of the victim, in the initial namespace.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// Its arguments, joined by spaces; empty if they were not known.
    pub command_line: String,
    /// Path of the control group that limited its memory.
    pub cgroup: Option<String>,
    /// Index into the profile's processes; `None`: it was not traced.
    pub process: Option<u32>,
    /// What the kernel counted for it at that moment; `None`: not known.
    pub counted: Option<Counted>,
    /// The limit that was hit; `None`: not known.
    pub limit: Option<Limit>,
    /// The victim and the processes that share that limit, the largest first.
    pub members: Vec<Member>,
    /// How many more there were.
    pub more_members: u64,
    /// How long before it the members were looked at, at most; the victim at that moment, if it was counted.
    pub looked_before: Duration,
    /// What the kernel's log says of it.
    pub log: Vec<String>,
}

/// What happened to the victim.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The kernel killed it for want of memory.
    #[default]
    OutOfMemory,
    /// A process killed it.
    Signal {
        /// Its process id; 0: not known.
        pid: u32,
        /// Its short name.
        comm: String,
    },
    /// Its control group came near its limit.
    NearLimit,
    /// Processes had to wait for memory.
    Pressure,
}

/// What the kernel counted for a process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Resident memory.
    pub resident: ByKind,
    /// Address space.
    pub total: u64,
    /// Page tables.
    pub page_tables: u64,
    /// What made it more or less likely to be chosen.
    pub oom_score_adj: i32,
}

/// A limit that was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Of this group, shortly before.
    pub group: Group,
    /// How long before.
    pub looked_before: Duration,
    /// How it is known.
    pub evidence: Evidence,
}

/// How it is known which limit was hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// The kernel's log says so.
    Log,
    /// The group has counted it.
    Counter,
    /// It was the fullest.
    #[default]
    Fullest,
}

/// A process that shares the limit, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Process id.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// Its RSS.
    pub resident: u64,
    /// By how much the RSS has grown.
    pub grown: i64,
    /// In how much time: a minute, or since the process was first seen, or since its beginning.
    pub over: Duration,
    /// How much of that in the last seconds.
    pub lately: i64,
    /// Index into the profile's processes; `None`: it was not traced.
    pub process: Option<u32>,
}

impl Cause {
    /// Whether the process is dead.
    #[must_use]
    pub const fn is_kill(&self) -> bool {
        matches!(self, Self::OutOfMemory | Self::Signal { .. })
    }
}

impl Member {
    /// `comm (pid)`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} ({})", printable(&self.comm), self.pid)
    }
}

impl Incident {
    /// `comm (pid)`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} ({})", printable(&self.comm), self.pid)
    }

    /// Whether it is the victim.
    #[must_use]
    pub fn is_victim(&self, member: &Member) -> bool {
        member.pid == self.pid
    }

    /// Those that grew most in the last minute; nobody if that is less than a tenth of the limit.
    #[must_use]
    pub fn grew_most(&self) -> Vec<&Member> {
        self.grew(10, |member| member.grown)
    }

    /// Those that grew most in the last seconds; nobody if that is less than a fortieth of the limit.
    #[must_use]
    pub fn grew_last(&self) -> Vec<&Member> {
        self.grew(40, |member| member.lately)
    }

    /// Those that grew by more than half as much as whoever grew most, the first ones first; nobody if
    /// that is too small a part of the limit, or of the largest where everything shares the machine's.
    fn grew(&self, part: u64, growth: impl Fn(&Member) -> i64) -> Vec<&Member> {
        let largest = self.members.iter().map(|member| member.resident).max().unwrap_or(0);
        let group = self.limit.as_ref().map(|limit| &limit.group);
        let limit = group.filter(|group| group.path != "/").and_then(|group| group.limit);
        let much = i64::try_from(limit.unwrap_or(largest) / part).unwrap_or(i64::MAX);
        let most = self.members.iter().map(&growth).max().filter(|most| *most > much);
        let is_much = |member: &&Member| most.is_some_and(|most| growth(member) > most / 2);
        let mut members: Vec<_> = self.members.iter().filter(is_much).collect();
        members.sort_by_key(|member| (Reverse(growth(member)), !self.is_victim(member)));
        members
    }

    /// What all of them had together, what they share counted in each; `None`: not all are known.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        let sum = || self.members.iter().map(|one| one.resident).fold(0, u64::saturating_add);
        (self.more_members == 0 && !self.members.is_empty()).then(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(pid: u32, resident: u64, grown: i64) -> Member {
        Member { pid, resident, grown, ..Member::default() }
    }

    #[test]
    fn who_grew_most_is_told_if_it_grew_by_much() {
        let members = vec![member(1, 1000, 0), member(2, 400, 350), member(3, 10, 5)];
        let mut incident = Incident { pid: 1, members, ..Incident::default() };
        let most = |incident: &Incident| {
            let most = incident.grew_most();
            most.iter().map(|member| member.pid).collect::<Vec<_>>()
        };
        assert_eq!(most(&incident), [2]);
        let group = Group { path: "/a".into(), limit: Some(3_600), ..Group::default() };
        incident.limit = Some(Limit { group, ..Limit::default() });
        assert!(most(&incident).is_empty(), "less than a tenth of the limit");
        incident.limit = None;
        incident.members = vec![member(1, 1000, -5), member(2, 400, 90)];
        assert!(most(&incident).is_empty(), "nobody grew by much");
        incident.members = vec![member(2, 400, 300), member(3, 900, 150), member(1, 1000, 300)];
        assert_eq!(most(&incident), [1, 2], "the victim as much as any");
    }
}
