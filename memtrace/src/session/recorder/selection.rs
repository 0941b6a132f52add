//! Which processes the recorder traces.

use std::collections::HashMap;

use crate::{
    oom::{Census, Citizen},
    process::Identity,
};

/// What is watched.
#[derive(Clone, Debug)]
pub enum Scope {
    /// Every process that has at least as many bytes resident: to trace is costly, and small ones
    /// come and go by the hundred.
    All(u64),
    /// Those in a control group and in groups within it.
    Group(String),
    /// These.
    Processes(Vec<u32>),
}

/// How often it is tried to trace a process.
const TRIES: u32 = 3;
/// Processes whose tracing is begun at once; kills wait meanwhile.
const AT_ONCE: usize = 4;

/// Chooses, and remembers what cannot be traced.
pub struct Selection {
    scope: Scope,
    own: u32,
    refused: HashMap<Identity, u32>,
}

impl Selection {
    /// Nobody is traced yet.
    pub fn new(scope: Scope) -> Self {
        Self { scope, own: std::process::id(), refused: HashMap::new() }
    }

    /// Those that are to be traced and are not, the largest first, a few at a time.
    pub fn choose(&self, census: &Census, is_traced: impl Fn(u32) -> bool) -> Vec<Identity> {
        let is_wanted = |one: &&Citizen| {
            one.ended.is_none()
                && one.identity.pid != self.own
                && self.is_in_scope(one)
                && self.refused.get(&one.identity).is_none_or(|tries| *tries < TRIES)
                && !is_traced(one.identity.pid)
        };
        let mut wanted: Vec<_> = census.iter().filter(is_wanted).collect();
        wanted.sort_by_key(|citizen| std::cmp::Reverse(citizen.resident));
        wanted.iter().take(AT_ONCE).map(|citizen| citizen.identity).collect()
    }

    fn is_in_scope(&self, one: &Citizen) -> bool {
        match &self.scope {
            Scope::All(least) => one.resident >= *least,
            Scope::Group(path) => one.is_in(path),
            Scope::Processes(pids) => pids.contains(&one.identity.pid),
        }
    }

    /// The group that is watched, if it is one.
    pub fn group(&self) -> Option<&str> {
        match &self.scope {
            Scope::Group(path) => Some(path),
            _ => None,
        }
    }

    /// Notes that a process could not be traced.
    pub fn refuse(&mut self, identity: Identity) {
        *self.refused.entry(identity).or_default() += 1;
    }

    /// Forgets processes that are gone.
    pub fn forget(&mut self, census: &Census) {
        let is_known = |one: &Identity| census.get(one.pid).is_some_and(|c| c.identity == *one);
        self.refused.retain(|identity, _| is_known(identity));
    }

    /// Processes that cannot be traced.
    pub fn refused(&self) -> usize {
        self.refused.values().filter(|tries| **tries >= TRIES).count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::survey::Seen;

    fn census() -> Census {
        let mut census = Census::default();
        for (pid, mib, cgroup) in
            [(1, 10, "/"), (2, 100, "/jobs/a"), (3, 200, "/jobs"), (4, 50, "/")]
        {
            let identity = Identity { pid, start_time: 1 };
            let seen = Seen { identity, comm: String::new(), resident: mib << 20, is_dead: false };
            census.note(&seen, Duration::from_secs(1));
            census.place(pid, Some(cgroup.into()));
        }
        census
    }

    fn pids(chosen: Vec<Identity>) -> Vec<u32> {
        chosen.iter().map(|identity| identity.pid).collect()
    }

    fn chosen(scope: Scope) -> Vec<u32> {
        pids(Selection::new(scope).choose(&census(), |_| false))
    }

    #[test]
    fn the_scope_decides_and_the_largest_come_first() {
        assert_eq!(chosen(Scope::All(50 << 20)), [3, 2, 4]);
        assert_eq!(chosen(Scope::Group("/jobs".into())), [3, 2]);
        assert_eq!(chosen(Scope::Processes(vec![1, 9])), [1]);
        let selection = Selection::new(Scope::All(0));
        assert_eq!(pids(selection.choose(&census(), |pid| pid > 1)), [1]);
    }

    #[test]
    fn what_cannot_be_traced_is_not_tried_for_ever() {
        let mut selection = Selection::new(Scope::All(150 << 20));
        for _ in 0..TRIES {
            assert_eq!(pids(selection.choose(&census(), |_| false)), [3]);
            selection.refuse(Identity { pid: 3, start_time: 1 });
        }
        assert_eq!(selection.choose(&census(), |_| false), []);
        assert_eq!(selection.refused(), 1);
        selection.forget(&Census::default());
        assert_eq!(selection.refused(), 0);
    }
}
