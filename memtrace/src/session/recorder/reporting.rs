//! From a kill to its report.

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{
    super::{
        fold::Names,
        tracer::{Resident, Told},
    },
    state::Recorder,
};
use crate::{
    cli,
    oom::{AHEAD, Scene, Victim},
    process::host,
    profile::{Cause, Counted, Group, Incident, Limit, Point, Profile},
    report::{
        incident,
        units::{Elapsed, Things},
    },
};

/// Processes of a report: the victim, and the largest of those that share its limit.
pub(super) const MAX_PROCESSES: usize = 12;

impl Recorder {
    /// Writes the report, and tells where it is.
    pub(super) fn report_and_say(&mut self, victim: Victim) {
        let who = format!("{} ({})", victim.comm, victim.pid);
        match self.report(victim) {
            Ok((headline, folder)) => {
                self.reports += 1;
                cli::say(&format!("{headline}: {}", folder.display()));
            }
            Err(error) => cli::say(&format!("no report about {who}: {error:#}")),
        }
    }

    fn report(&mut self, victim: Victim) -> Result<(String, PathBuf)> {
        let log = self.log_about(&victim);
        self.note_ends();
        let scene = self.scene(&log);
        let limit = scene.limit(&victim);
        let members = scene.members(&victim, limit.as_ref());
        let members: Vec<_> = members.iter().map(|(pid, ..)| *pid).collect();
        let slots = self.slots(&victim, &members);
        self.mark_end(&victim, slots.first().copied());
        let mut profile = self.profile(&slots, &victim)?;
        let processes = profile.processes.iter().map(|process| process.pid).zip(0..).collect();
        profile.groups = self.groups(&profile, limit.as_ref(), victim.at, &processes);
        let incident = self.scene(&log).incident(victim, limit, &processes);
        complete(&mut profile, incident);
        let name = profile.incident.as_ref().map(folder_name).context("it was just made")?;
        let headline = profile.incident.as_ref().map(incident::headline).unwrap_or_default();
        let written = self.archive.write(&name, &profile);
        if let (Err(_), Some(incident)) = (&written, &profile.incident) {
            // Whoever reads the journal has this at least.
            cli::say(&headline);
            cli::say(&incident::brief(incident));
        }
        Ok((headline, written?))
    }

    /// What the kernel's log says of a kill.
    fn log_about(&mut self, victim: &Victim) -> Vec<String> {
        let log = self.log.as_mut().filter(|_| victim.cause == Cause::OutOfMemory);
        let about = log.map(|log| {
            log.read();
            log.about(victim.pid)
        });
        about.unwrap_or_default()
    }

    /// What is known of this moment.
    fn scene<'a>(&'a self, log: &'a [String]) -> Scene<'a> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Scene {
            census: &self.census,
            limits: &self.limits,
            log,
            now: host::time_since_boot(),
            now_millis: since_epoch.as_millis() as u64,
        }
    }

    /// The victim's first.
    fn slots(&self, victim: &Victim, members: &[u32]) -> Vec<u32> {
        let own = victim.slot.or_else(|| self.tracer.slot_of(victim.pid));
        let others = members.iter().filter_map(|pid| self.tracer.slot_of(*pid));
        let mut slots: Vec<_> = own.into_iter().collect();
        for slot in others {
            if slots.len() < MAX_PROCESSES && !slots.contains(&slot) {
                slots.push(slot);
            }
        }
        slots
    }

    /// The timeline goes up to the kill, and not only to the last look.
    fn mark_end(&mut self, victim: &Victim, slot: Option<u32>) {
        let slot = slot.filter(|slot| victim.slot == Some(*slot));
        if let (Some(slot), Some(Counted { resident, .. })) = (slot, victim.counted) {
            let ago = host::time_since_boot().saturating_sub(victim.at);
            let at = self.tracer.elapsed().saturating_sub(ago);
            let live = self.tracer.live_bytes(slot);
            self.film.mark(slot, Point { at, resident, live });
            self.tracer.note_end(slot, &resident);
        }
    }

    /// What was recorded of these processes.
    fn profile(&mut self, slots: &[u32], victim: &Victim) -> Result<Profile> {
        let began = slots.iter().filter_map(|slot| self.tracer.target(*slot));
        let since = began.map(|target| target.began).min().unwrap_or_default();
        let read = |slot: &u32| Some((*slot, self.ahead.before(victim.at, *slot)?));
        // Without the victim the rest says nothing of the memory that was missing.
        let is_known = slots.first().is_some_and(|first| read(first).is_some());
        let read: Vec<_> = slots.iter().filter(|_| is_known).filter_map(read).collect();
        let ago = read.iter().map(|(_, (at, _))| victim.at.saturating_sub(*at)).max();
        let mut notes: Vec<_> = ago.map(read_before).into_iter().collect();
        notes.extend(self.missed_ahead(victim));
        notes.extend(self.untraced());
        let decompositions = read.into_iter().map(|(slot, (_, read))| (slot, read.clone()));
        let resident = Resident { decompositions: decompositions.collect(), ..Resident::default() };
        let timeline = self.film.timeline(slots, since);
        let recorded = self.tracer.record_of(slots, Told { timeline, resident, notes, since })?;
        let names = Names::resolve(recorded.unresolved());
        Ok(recorded.into_profile(&names))
    }

    fn untraced(&self) -> Option<String> {
        let refused = self.selection.refused() as u64;
        (refused > 0).then(|| format!("{} could not be traced.", Things(refused, "process")))
    }

    /// The groups of the processes, and the one whose limit was hit.
    fn groups(
        &self,
        profile: &Profile,
        limit: Option<&Limit>,
        moment: Duration,
        processes: &HashMap<u32, u32>,
    ) -> Vec<Group> {
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        groups.extend(limit.map(|limit| (limit.group.path.clone(), limit.group.clone())));
        for process in &profile.processes {
            let path = self.census.get(process.pid).and_then(|one| one.cgroup.as_deref());
            if let Some(group) = path.and_then(|path| self.limits.group(path, moment)) {
                groups.entry(group.path.clone()).or_insert(group);
            }
        }
        let mut groups: Vec<_> = groups.into_values().collect();
        for group in &mut groups {
            let inside = processes.iter().filter(|(pid, _)| {
                self.census.get(**pid).is_some_and(|citizen| citizen.is_in(&group.path))
            });
            group.processes = inside.map(|(_, index)| *index).collect();
            group.processes.sort_unstable();
        }
        groups
    }
}

/// Fits the account of the kill and what was recorded of the victim together.
fn complete(profile: &mut Profile, mut incident: Incident) {
    if let Some(limit) = &mut incident.limit {
        let group = profile.groups.iter().find(|group| group.path == limit.group.path);
        limit.group.processes = group.map(|group| group.processes.clone()).unwrap_or_default();
    }
    let victim = incident.process.and_then(|index| profile.processes.get_mut(index as usize));
    if let Some(victim) = victim {
        incident.comm.clone_from(&victim.comm);
        incident.command_line.clone_from(&victim.command_line);
        if let Some(Counted { resident, .. }) = incident.counted {
            victim.rss_bytes = Some(resident.sum());
            victim.highest_rss_bytes = victim.highest_rss_bytes.max(victim.rss_bytes);
        }
    }
    profile.incident = Some(incident);
}

fn read_before(ago: Duration) -> String {
    format!("What the RSS consists of was read {} before: of the dead nobody can.", Elapsed(ago))
}

/// `TIME-COMM-PID`; other characters than those of plain names become `_`.
fn folder_name(incident: &Incident) -> String {
    let time = i64::try_from(incident.at_millis).ok();
    let time = time.and_then(|millis| Timestamp::from_millisecond(millis).ok()).unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._".contains(c) { c } else { '_' };
    let comm: String = incident.comm.chars().map(plain).collect();
    let ahead = if incident.cause.is_kill() { "" } else { AHEAD };
    format!("{}-{comm}-{}{ahead}", time.strftime("%Y%m%dT%H%M%SZ"), incident.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_by_time_name_and_id() {
        let comm = "../py:thon".to_owned();
        let mut incident =
            Incident { at_millis: 1_795_672_418_500, pid: 7, comm, ..Incident::default() };
        assert_eq!(folder_name(&incident), "20261126T055338Z-.._py_thon-7");
        incident.cause = Cause::NearLimit;
        assert_eq!(folder_name(&incident), "20261126T055338Z-.._py_thon-7-ahead");
    }
}
