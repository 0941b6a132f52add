//! The search for processes that are wanted: each is found once, whenever it begins to fit.

use std::{
    collections::{HashMap, HashSet},
    fs,
};

use super::{Facts, Wanted};
use crate::process::groups::Groups;

/// A process is looked at in so many searches from its start on: it may be moved to another group, or get
/// another name, soon after it began.
const LOOKS: u8 = 6;
/// It was found.
const FOUND: u8 = u8::MAX;
/// Those that were looked at so often are looked at again in turn, so many in each search.
const IN_TURN: usize = 32;

/// What is wanted, and what was seen.
#[derive(Debug, Default)]
pub struct Search {
    wanted: Vec<Wanted>,
    /// Where the wanted groups are.
    groups: Option<Groups>,
    /// How often a process was looked at, by its id.
    seen: HashMap<u32, u8>,
    /// The last process whose turn it was.
    turn: u32,
}

impl Search {
    /// For these.
    #[must_use]
    pub fn new(wanted: Vec<Wanted>) -> Self {
        Self { wanted, groups: Groups::find().ok(), ..Self::default() }
    }

    /// Those that are wanted and were not found before. memtrace itself never is.
    pub fn find(&mut self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut ids: Vec<u32> = ids.filter(|id| *id != std::process::id()).collect();
        ids.sort_unstable();
        let before = std::mem::take(&mut self.seen);
        let looks = |id: u32| before.get(&id).copied().unwrap_or_default();
        let again = self.again(ids.iter().copied().filter(|id| looks(*id) == LOOKS).collect());
        let mut found = Vec::new();
        for id in ids {
            let looks = looks(id);
            let is_due = looks < LOOKS || again.contains(&id);
            let is_found = is_due && self.is_wanted(id);
            if is_found {
                found.push(id);
            }
            let looks = if looks == FOUND { FOUND } else { looks.saturating_add(1).min(LOOKS) };
            self.seen.insert(id, if is_found { FOUND } else { looks });
        }
        found
    }

    /// A process has become another program.
    pub fn look_again(&mut self, id: u32) {
        self.seen.remove(&id);
    }

    /// Those that are looked at again: whoever is in a wanted group by now, and a few more, since
    /// units and containers are known by any path, and names change.
    fn again(&mut self, mut settled: Vec<u32>) -> HashSet<u32> {
        let members: HashSet<_> = self.wanted.iter().flat_map(|one| self.members(one)).collect();
        let first = settled.partition_point(|id| *id <= self.turn);
        settled.rotate_left(first);
        let mut in_turn = settled.clone();
        in_turn.truncate(IN_TURN);
        self.turn = in_turn.last().copied().unwrap_or_default();
        settled.retain(|id| members.contains(id));
        settled.into_iter().chain(in_turn).collect()
    }

    /// Who is in a wanted group now.
    fn members(&self, wanted: &Wanted) -> Vec<u32> {
        let (Wanted::Cgroup(path), Some(groups)) = (wanted, &self.groups) else {
            return Vec::new();
        };
        groups.resolve(path).map(|path| groups.members(&path)).unwrap_or_default()
    }

    fn is_wanted(&self, id: u32) -> bool {
        Facts::read(id).is_some_and(|facts| self.wanted.iter().any(|wanted| wanted.fits(&facts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::workload::Workload;

    #[test]
    fn a_process_is_found_once_and_memtrace_never() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let sleep = Workload::spawn("sleep", &["1000"]);
        let names = vec![Wanted::Comm(own.trim().into()), Wanted::Pid(sleep.pid())];
        let mut search = Search::new(names);
        let found = search.find();
        assert!(found.contains(&sleep.pid()) && !found.contains(&std::process::id()));
        assert!((0..20).all(|_| !search.find().contains(&sleep.pid())));
    }

    #[test]
    fn whoever_becomes_another_program_is_looked_at_again() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let mut search = Search::new(vec![Wanted::Comm("never-was".into())]);
        (0..=LOOKS).for_each(|_| assert!(search.find().is_empty()));
        assert_eq!(search.seen[&sleep.pid()], LOOKS);
        search.wanted = vec![Wanted::Pid(sleep.pid())];
        search.look_again(sleep.pid());
        assert!(search.find().contains(&sleep.pid()));
    }

    #[test]
    fn whoever_is_there_for_long_has_its_turn() {
        let sleep = Workload::spawn("sleep", &["1000"]);
        let mut search = Search::new(vec![Wanted::Comm("never-was".into())]);
        (0..=LOOKS).for_each(|_| assert!(search.find().is_empty()));
        // It got the name that is wanted.
        search.wanted = vec![Wanted::Pid(sleep.pid())];
        let searches = search.seen.len() / IN_TURN + 2;
        assert!((0..searches).any(|_| search.find().contains(&sleep.pid())));
    }
}
