//! From a kill, as the kernel programs tell of it, to the account of it that goes into a report.

use std::{collections::HashMap, time::Duration};

use memtrace_abi::kill::{Kill, NO_SLOT, cause};

use super::{Census, Citizen, Limits};
use crate::{
    process::kernel_log,
    profile::{ByKind, Cause, Counted, Incident, Limit, Member},
};

/// Members that are listed.
const MAX_MEMBERS: usize = 30;
const PAGE: u64 = 4096;
/// Whoever has ended longer before than this had no part in it.
const RECENTLY: Duration = Duration::from_secs(2);

/// Who was killed, or is in danger.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Process id.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// What happened.
    pub cause: Cause,
    /// When, since boot.
    pub at: Duration,
    /// Its slot, if it was traced.
    pub slot: Option<u32>,
    /// What the kernel counted for it.
    pub counted: Option<Counted>,
}

impl Victim {
    /// From what the kernel programs saw.
    #[must_use]
    pub fn of(kill: &Kill) -> Self {
        let cause = match kill.cause {
            cause::SIGNAL => Cause::Signal { pid: kill.by, comm: name(&kill.by_comm) },
            _ => Cause::OutOfMemory,
        };
        Self {
            pid: kill.pid,
            comm: name(&kill.comm),
            cause,
            at: Duration::from_nanos(kill.at),
            slot: (kill.slot != NO_SLOT).then_some(kill.slot),
            counted: (kill.is_known != 0).then(|| counted(kill)),
        }
    }
}

fn counted(kill: &Kill) -> Counted {
    let bytes = |pages: u64| pages.saturating_mul(PAGE);
    let memory = &kill.memory;
    let resident = ByKind {
        anonymous: bytes(memory.anonymous),
        shared: bytes(memory.shared),
        file: bytes(memory.file),
    };
    Counted {
        resident,
        total: bytes(memory.total),
        page_tables: memory.page_tables,
        oom_score_adj: kill.oom_score_adj,
    }
}

fn name(comm: &[u8]) -> String {
    let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).replace(char::is_control, "\u{FFFD}")
}

/// Everything that is known of the moment.
pub struct Scene<'recorder> {
    /// All processes.
    pub census: &'recorder Census,
    /// The groups under watch.
    pub limits: &'recorder Limits,
    /// What the kernel's log says of the kill.
    pub log: &'recorder [String],
    /// Now, since boot.
    pub now: Duration,
    /// Now, in milliseconds since 1970.
    pub now_millis: u64,
}

impl Scene<'_> {
    /// The control group of the victim, as far as is known.
    fn cgroup(&self, victim: &Victim) -> Option<&str> {
        let logged = self.log.iter().rev().find_map(|line| kernel_log::group_of_victim(line));
        logged.or_else(|| self.census.get(victim.pid)?.cgroup.as_deref())
    }

    /// The limit that was hit.
    #[must_use]
    pub fn limit(&self, victim: &Victim) -> Option<Limit> {
        let logged = self.log.iter().rev().find_map(|line| kernel_log::limit_hit(line));
        self.limits.hit(self.cgroup(victim), logged, victim.at)
    }

    /// The processes that share a limit, or a group if no limit is known, the largest first.
    #[must_use]
    pub fn members(&self, victim: &Victim, limit: Option<&Limit>) -> Vec<&Citizen> {
        let own = self.cgroup(victim).unwrap_or("/");
        let path = limit.map_or(own, |limit| &limit.group.path);
        let is_there = |citizen: &&Citizen| {
            let is_inside = citizen.is_in(path) || citizen.identity.pid == victim.pid;
            is_inside && citizen.last_seen + RECENTLY >= victim.at
        };
        let mut members: Vec<_> = self.census.iter().filter(is_there).collect();
        members.sort_by_key(|citizen| std::cmp::Reverse(citizen.resident));
        members
    }

    /// The account of it. `processes` are the traced ones: their places in the profile, by id.
    #[must_use]
    pub fn incident(
        self,
        victim: Victim,
        limit: Option<Limit>,
        processes: &HashMap<u32, u32>,
    ) -> Incident {
        let all = self.members(&victim, limit.as_ref());
        let more_members = all.len().saturating_sub(MAX_MEMBERS) as u64;
        let members = all.into_iter().take(MAX_MEMBERS).map(|citizen| member(citizen, processes));
        let members: Vec<_> = members.collect();
        let seen = self.census.get(victim.pid).map(|citizen| citizen.last_seen);
        let ago = self.now.saturating_sub(victim.at);
        Incident {
            at_millis: self.now_millis.saturating_sub(ago.as_millis() as u64),
            pid: victim.pid,
            cgroup: self.cgroup(&victim).map(str::to_owned),
            process: processes.get(&victim.pid).copied(),
            cause: victim.cause,
            comm: victim.comm,
            command_line: String::new(),
            counted: victim.counted,
            limit,
            members,
            more_members,
            looked_before: seen.map_or(Duration::ZERO, |seen| victim.at.saturating_sub(seen)),
            log: self.log.to_vec(),
        }
    }
}

fn member(citizen: &Citizen, processes: &HashMap<u32, u32>) -> Member {
    let (grown, over) = citizen.growth();
    let pid = citizen.identity.pid;
    Member {
        pid,
        comm: citizen.comm.clone(),
        resident: citizen.resident,
        grown,
        over,
        process: processes.get(&pid).copied(),
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::kill::{COMM, Memory};

    use super::*;

    #[test]
    fn pages_become_bytes_and_names_end_at_the_zero() {
        let mut comm = [0; COMM];
        comm[..7].copy_from_slice(b"py\x1bthon");
        let memory = Memory { total: 100, file: 1, anonymous: 50, shared: 2, page_tables: 4096 };
        let kill = Kill {
            cause: cause::SIGNAL,
            pid: 7,
            slot: NO_SLOT,
            by: 8,
            at: 5_000_000_000,
            memory,
            is_known: 1,
            oom_score_adj: -5,
            comm,
            by_comm: *b"systemd-oomd-lon",
        };
        let victim = Victim::of(&kill);
        let counted = victim.counted.unwrap();
        assert_eq!((counted.resident.sum(), counted.total), (53 * 4096, 100 * 4096));
        assert_eq!(victim.cause, Cause::Signal { pid: 8, comm: "systemd-oomd-lon".into() });
        assert!(!victim.comm.contains('\x1b') && victim.slot.is_none());
    }
}
