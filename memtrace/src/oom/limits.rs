//! Control groups under watch: how near each is to its limit, and which one hit it.

mod watched;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use self::watched::{CLOSE, FAR, Watched, share};
use crate::{
    process::{
        groups::{GroupMemory, Groups, around},
        host,
    },
    profile::{Evidence, Group, Limit},
};

/// Of many groups, those that are far from their limits are looked at this often.
const SELDOM: Duration = Duration::from_secs(2);
/// More groups than these are many.
const FEW: usize = 16;
/// Groups that are watched.
const MAX_GROUPS: usize = 4096;
/// How long a group is remembered that nobody asks for any more: a report about it may be due.
const AFTERLIFE: Duration = Duration::from_secs(30);

/// The path of everything.
const MACHINE: &str = "/";

/// Why a snapshot is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A group is near its limit.
    NearLimit(String),
    /// Processes of a group wait for memory.
    Pressure(String),
}

impl Alarm {
    /// The group.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::NearLimit(path) | Self::Pressure(path) => path,
        }
    }
}

/// The groups, by path.
pub struct Limits {
    groups: Groups,
    watched: HashMap<String, Watched>,
    /// When it was last said which are wanted.
    wanted: Duration,
}

impl Limits {
    /// No groups yet.
    #[must_use]
    pub fn new(groups: Groups) -> Self {
        Self { groups, watched: HashMap::new(), wanted: Duration::ZERO }
    }

    /// Watches the groups of these processes, one more, and those around them. Others are forgotten
    /// after a while.
    pub fn watch<'a>(
        &mut self,
        members: impl IntoIterator<Item = (&'a str, u32)>,
        one_more: Option<&str>,
        now: Duration,
    ) {
        let mut wanted = BTreeMap::from([(MACHINE.to_owned(), Vec::new())]);
        wanted.extend(one_more.into_iter().flat_map(around).map(|path| (path, Vec::new())));
        for (path, pid) in members {
            for path in around(path).into_iter().chain([MACHINE.to_owned()]) {
                wanted.entry(path).or_default().push(pid);
            }
        }
        for (path, mut pids) in wanted.into_iter().take(MAX_GROUPS) {
            pids.sort_unstable();
            let watched = self.watched.entry(path).or_default();
            (watched.members, watched.wanted) = (pids, now);
        }
        let has_room = self.watched.len() < 2 * MAX_GROUPS;
        self.watched.retain(|_, watched| {
            watched.wanted == now || has_room && now < watched.wanted + AFTERLIFE
        });
        self.wanted = now;
    }

    /// Looks at the groups; returns what is to be told. A look counts as of its end: what a kill has
    /// changed meanwhile is not of before it.
    pub fn look(&mut self, clock: impl Fn() -> Duration) -> Vec<Alarm> {
        let mut alarms = Vec::new();
        let are_few = self.watched.len() <= FEW;
        for (path, watched) in &mut self.watched {
            if watched.wanted == self.wanted
                && (are_few || watched.is_due(clock()))
                && let Some(memory) = read(&self.groups, path)
            {
                let now = clock();
                watched.note(memory, now);
                alarms.extend(watched.alarm(path, now));
            }
        }
        alarms
    }

    /// A group that is near its limit is told of again.
    pub fn untell(&mut self, path: &str) {
        if let Some(watched) = self.watched.get_mut(path) {
            watched.untell();
        }
    }

    /// Whether a limit that was near is no longer, as far as the last look tells.
    #[must_use]
    pub fn is_over(&self, alarm: &Alarm) -> bool {
        match alarm {
            Alarm::NearLimit(path) => self.watched.get(path).is_none_or(Watched::is_far),
            Alarm::Pressure(_) => false,
        }
    }

    /// A group as it was at a moment, at the latest.
    #[must_use]
    pub fn group(&self, path: &str, moment: Duration) -> Option<Group> {
        let watched = self.watched.get(path)?;
        let (_, memory) = watched.look_before(moment)?;
        Some(self.counted(watched.group(path, memory)))
    }

    /// With what the kernel still knows: the look may be older than the peak and the kill.
    fn counted(&self, group: Group) -> Group {
        let Some(now) = read(&self.groups, &group.path) else { return group };
        Group { peak: now.peak.max(group.peak), kills: now.kills.max(group.kills), ..group }
    }

    /// The limit that a process in a group hit at a moment: the one that the kernel's log names, else
    /// the one whose hits have gone up, else the fullest.
    #[must_use]
    pub fn hit(
        &self,
        cgroup: Option<&str>,
        logged: Option<&str>,
        moment: Duration,
    ) -> Option<Limit> {
        if let Some(path) = logged {
            return self.limit(path, Evidence::Log, moment);
        }
        let mut paths = around(cgroup.unwrap_or(MACHINE));
        paths.push(MACHINE.to_owned());
        let share = |path: &String| {
            let (_, memory) = self.watched.get(path)?.look_before(moment)?;
            memory.limit.map(|_| share(memory))
        };
        if let Some(path) = paths.iter().find(|path| self.has_hit(path, share(path), moment)) {
            return self.limit(path, Evidence::Counter, moment);
        }
        let fullest = paths.iter().max_by_key(|path| share(path))?;
        let is_full = share(fullest).is_some_and(|share| share >= FAR);
        is_full.then(|| self.limit(fullest, Evidence::Fullest, moment))?
    }

    /// Whether the limit of a group, used to a share before, was hit about then.
    fn has_hit(&self, path: &str, share: Option<u64>, moment: Duration) -> bool {
        let before = moment.saturating_sub(SELDOM);
        let look = |watched: &Watched| {
            let (_, memory) = watched.look_before(before).or_else(|| watched.first_look())?;
            Some(memory.hits)
        };
        let before = self.watched.get(path).and_then(look);
        let (Some(before), Some(now)) = (before, read(&self.groups, path)) else { return false };
        now.hits > before && share.is_some_and(|share| share >= CLOSE)
    }

    /// Nothing but its counters is known of a group in which nobody was traced: what it uses after
    /// the kill is not what it used.
    fn limit(&self, path: &str, evidence: Evidence, moment: Duration) -> Option<Limit> {
        let watched = self.watched.get(path);
        let look = watched.and_then(|watched| Some((watched, watched.look_before(moment)?)));
        let look = look.map(|(watched, (at, memory))| (watched.group(path, memory), *at));
        let (group, at) = look.or_else(|| {
            let limit = read(&self.groups, path)?.limit;
            Some((Group { path: path.to_owned(), limit, ..Group::default() }, moment))
        })?;
        let group = self.counted(group);
        Some(Limit { group, looked_before: moment.saturating_sub(at), evidence })
    }
}

/// The memory of a group, or of the machine.
fn read(groups: &Groups, path: &str) -> Option<GroupMemory> {
    if path == MACHINE { host::memory() } else { groups.memory(path).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_machine_is_a_group_with_a_limit() {
        let mut limits = Limits::new(Groups::find().unwrap());
        limits.watch([], None, SECOND);
        limits.look(|| SECOND);
        let limit = limits.hit(None, Some("/"), SECOND * 2).unwrap();
        assert!(limit.group.limit > Some(limit.group.usage), "{limit:?}");
        assert_eq!((limit.evidence, limit.looked_before), (Evidence::Log, SECOND));
    }

    #[test]
    fn a_look_after_the_kill_tells_nothing_of_what_was_in_use() {
        let mut limits = Limits::new(Groups::find().unwrap());
        limits.watch([], None, SECOND * 3);
        limits.look(|| SECOND * 3);
        let limit = limits.hit(None, Some("/"), SECOND * 2).unwrap();
        assert!(!limit.group.was_seen() && limit.group.usage == 0, "{limit:?}");
        assert!(limit.group.limit > Some(0));
    }

    #[test]
    fn a_group_that_nobody_is_in_any_more_is_remembered_for_a_while() {
        let mut limits = Limits::new(Groups::find().unwrap());
        limits.watch([("/a/b", 7)], None, SECOND);
        let known = |limits: &Limits| limits.watched.contains_key("/a/b");
        limits.watch([], Some("/c"), SECOND * 2);
        assert!(known(&limits) && limits.watched.contains_key("/c"));
        limits.watch([], None, SECOND + AFTERLIFE);
        assert!(!known(&limits));
    }
}
