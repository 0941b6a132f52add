//! From a kill, as the kernel programs tell of it, to the account of it that goes into a report.

use std::{cmp::Reverse, collections::HashMap, time::Duration};

use memtrace_abi::kill::{Kill, NO_SLOT, cause};

use super::{Census, Citizen, Limits, Standing};
use crate::{
    process::kernel_log,
    profile::{ByKind, Cause, Counted, Incident, Limit, Member},
};

/// Members that are listed.
const MAX_MEMBERS: usize = 30;
/// What a process has that is no older it has taken, or has it from its parent.
const NEW: Duration = Duration::from_secs(3);
const PAGE: u64 = 4096;

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

    /// As the kernel counted it, else as it was when last seen before.
    fn standing(&self, census: &Census) -> Option<Standing> {
        let seen = census.get(self.pid).and_then(|citizen| citizen.at(self.at));
        let end = match (seen, self.counted.map(|counted| counted.resident.sum())) {
            (Some(seen), Some(resident)) => seen.later(self.at, resident),
            (None, Some(resident)) => Standing { at: self.at, resident, ..Standing::default() },
            (seen, None) => seen?,
        };
        let is_new = |born: &Duration| self.at < *born + NEW && *born <= end.at;
        let born = census.born(self.pid, self.at).filter(is_new);
        let Some(born) = born else { return Some(end) };
        let all = Standing::since_birth(born, end.at, end.resident);
        // What it took before it was seen is new, but need not be of the last seconds.
        Some(seen.map_or(all, |_| Standing { lately: end.lately, ..all }))
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
        let limit = self.limits.hit(self.cgroup(victim), logged, victim.at)?;
        let is_hit = victim.cause == Cause::OutOfMemory;
        Some(if is_hit { used_up(limit) } else { limit })
    }

    /// The processes that share a limit, or a group if no limit is known, that lived at the moment of the
    /// kill: the victim, and the others as they were when last seen before it, the largest first.
    #[must_use]
    pub fn members<'a>(
        &'a self,
        victim: &'a Victim,
        limit: Option<&Limit>,
    ) -> Vec<(u32, &'a str, Standing)> {
        let own = self.cgroup(victim).unwrap_or("/");
        let path = limit.map_or(own, |limit| &limit.group.path);
        let is_victim = |citizen: &Citizen| citizen.identity.pid == victim.pid;
        let others = self.census.at(victim.at);
        let others = others.filter(|(one, _)| one.is_in(path) && !is_victim(one));
        let others = others.map(|(one, standing)| (one.identity.pid, &*one.comm, standing));
        let itself = victim.standing(self.census);
        let itself = itself.map(|standing| (victim.pid, &*victim.comm, standing));
        let mut members: Vec<_> = others.chain(itself).collect();
        members.sort_by_key(|(pid, _, standing)| (Reverse(standing.resident), *pid));
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
        let mut listed = self.members(&victim, limit.as_ref());
        let more_members = listed.len().saturating_sub(MAX_MEMBERS) as u64;
        let mut room = MAX_MEMBERS;
        listed.retain(|(pid, ..)| {
            let is_listed = *pid == victim.pid || room > 1;
            room -= usize::from(is_listed);
            is_listed
        });
        let ages = listed.iter().map(|(_, _, seen)| victim.at.saturating_sub(seen.at));
        let looked_before = ages.max().unwrap_or_default();
        let members = listed.iter().map(|one| member(*one, processes)).collect();
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
            looked_before,
            log: self.log.to_vec(),
        }
    }
}

/// Whoever hits a limit has used all of it; the kernel's own peak is gone with the group.
fn used_up(mut limit: Limit) -> Limit {
    let group = &mut limit.group;
    group.peak = group.peak.map(|peak| peak.max(group.limit.unwrap_or(0)));
    limit
}

fn member((pid, comm, seen): (u32, &str, Standing), processes: &HashMap<u32, u32>) -> Member {
    let Standing { resident, grown, over, lately, .. } = seen;
    Member {
        pid,
        comm: comm.to_owned(),
        resident,
        grown,
        over,
        lately,
        process: processes.get(&pid).copied(),
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::kill::{COMM, Memory};

    use super::*;
    use crate::{
        process::{Identity, groups::Groups, survey::Seen},
        profile::Group,
    };

    #[test]
    fn a_crash_loop_is_told_of_the_one_that_lived() {
        let at = Duration::from_millis;
        let mut census = Census::default();
        let mut note = |pid, resident, millis| {
            let identity = Identity { pid, start_time: 1 };
            let seen = Seen { identity, comm: "python".into(), resident, is_dead: false };
            census.note(&seen, at(millis));
            census.place(pid, Some("/jobs".into()));
        };
        note(1, 190, 2_000);
        note(2, 100, 4_000);
        note(2, 40, 4_600);
        note(3, 10, 4_600);
        note(9, 8, 2_000);
        note(9, 8, 4_000);
        census.end(1, at(2_100));
        let limits = Limits::new(Groups::find().unwrap());
        let scene = Scene {
            census: &census,
            limits: &limits,
            log: &[],
            now: at(4_700),
            now_millis: 1_000_000,
        };
        let victim = Victim {
            pid: 2,
            comm: "python".into(),
            cause: Cause::OutOfMemory,
            at: at(4_500),
            slot: None,
            counted: None,
        };
        let incident = scene.incident(victim, None, &HashMap::new());
        let members = incident.members.iter().map(|member| (member.pid, member.resident));
        assert_eq!(members.collect::<Vec<_>>(), [(2, 100), (9, 8)]);
        assert_eq!(incident.looked_before, at(500));
    }

    #[test]
    fn who_was_never_seen_is_told_of_as_the_kernel_counted_it() {
        let at = Duration::from_millis;
        let mut census = Census::default();
        let identity = Identity { pid: 9, start_time: 1 };
        let seen = Seen { identity, comm: "parent".into(), resident: 80, is_dead: false };
        for millis in [3_000, 4_000] {
            census.note(&seen, at(millis));
            census.close_survey(at(millis));
        }
        let limits = Limits::new(Groups::find().unwrap());
        let (now, now_millis) = (at(4_700), 0);
        let scene = Scene { census: &census, limits: &limits, log: &[], now, now_millis };
        let resident = ByKind { anonymous: 300, ..ByKind::default() };
        let victim = Victim {
            pid: 7,
            comm: "worker".into(),
            cause: Cause::OutOfMemory,
            at: at(4_600),
            slot: None,
            counted: Some(Counted { resident, ..Counted::default() }),
        };
        let incident = scene.incident(victim, None, &HashMap::new());
        let [worker, parent] = &*incident.members else { panic!("{incident:?}") };
        assert_eq!((&*worker.comm, worker.resident, worker.grown), ("worker", 300, 300));
        assert_eq!((worker.over, parent.pid), (at(600), 9), "since the last look at everybody");
        assert_eq!(incident.looked_before, at(600));
    }

    #[test]
    fn a_group_that_hit_its_limit_had_that_much() {
        let peak = |peak| {
            let group = Group { limit: Some(200), peak, ..Group::default() };
            used_up(Limit { group, ..Limit::default() }).group.peak
        };
        assert_eq!([Some(183), Some(201), None].map(peak), [Some(200), Some(201), None]);
    }

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
