//! Which processes are wanted, other than by their ids, and the search for them.

mod search;

use std::{
    error::Error,
    fmt, fs,
    path::{Path, PathBuf},
};

pub use self::search::Search;
use super::{
    CGROUP_LIMIT, Process,
    cgroup::{memory_cgroup, paths},
    directory::Directory,
    groups::Groups,
};
use crate::profile::Place;

/// What a user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A process id.
    Pid(u32),
    /// The short name of a process.
    Comm(String),
    /// A control group and those in it, by its path.
    Cgroup(String),
    /// A systemd unit, with or without `.service`.
    Unit(String),
    /// A container, by id or name.
    Container(String),
    /// Every process.
    All,
}

/// What is known of a process that may be wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Process id.
    pub pid: u32,
    /// Its short name.
    pub comm: String,
    /// The paths of its control groups, that of the memory controller among them.
    pub cgroups: Vec<String>,
}

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// Longest short name (`TASK_COMM_LEN` of the kernel, without the zero).
const MAX_COMM: usize = 15;

impl Wanted {
    /// Whether the process is meant.
    #[must_use]
    pub fn fits(&self, facts: &Facts) -> bool {
        let mut places = facts.cgroups.iter().map(|path| Place::of(path));
        match self {
            Self::All => true,
            Self::Pid(pid) => facts.pid == *pid,
            Self::Comm(name) => {
                facts.comm == *name
                    || facts.comm.len() == MAX_COMM && name.starts_with(&*facts.comm)
            }
            Self::Cgroup(wanted) => facts.cgroups.iter().any(|path| is_within(path, wanted)),
            Self::Unit(wanted) => facts.cgroups.iter().any(|path| is_of_unit(path, wanted)),
            Self::Container(wanted) => places.any(|place| place.is_container(wanted)),
        }
    }

    /// An error for a control group that is in no hierarchy. Units, containers and programs may come
    /// later.
    pub fn check(&self) -> Result<(), NoSuchGroup> {
        let Self::Cgroup(path) = self else { return Ok(()) };
        let within = path.trim_start_matches('/');
        let hierarchies = fs::read_dir(MOUNT).into_iter().flatten().filter_map(Result::ok);
        let mut folders: Vec<_> = hierarchies.map(|entry| entry.path().join(within)).collect();
        folders.extend([path.into(), Path::new(MOUNT).join(within)]);
        let is_group = |folder: &PathBuf| folder.join("cgroup.procs").exists();
        let is_elsewhere = || Groups::find().is_ok_and(|groups| groups.resolve(path).is_ok());
        let exists = folders.iter().any(is_group) || is_elsewhere();
        if exists { Ok(()) } else { Err(NoSuchGroup::named(path)) }
    }
}

/// A control group that does not exist.
#[derive(Debug)]
pub struct NoSuchGroup(String);

impl NoSuchGroup {
    /// By the path that was typed.
    #[must_use]
    pub fn named(path: &str) -> Self {
        Self(path.into())
    }

    /// What helps.
    #[must_use]
    pub const fn hint() -> &'static str {
        "see what there is: systemd-cgls, or of a process: cat /proc/PID/cgroup"
    }
}

impl fmt::Display for NoSuchGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no control group {}", self.0)
    }
}

impl Error for NoSuchGroup {}

/// Whether a path is that of the wanted group or of one in it. Users may give the path with the
/// folder where the groups are mounted, in version 1 one for each controller.
fn is_within(path: &str, wanted: &str) -> bool {
    let below = |group: &str| {
        let rest = path.strip_prefix(group.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match wanted.strip_prefix(MOUNT) {
        None => below(&format!("/{}", wanted.trim_start_matches('/'))),
        Some(mounted) => {
            let without_controller = mounted.get(1..).and_then(|rest| rest.find('/'));
            below(mounted) && !mounted.is_empty()
                || without_controller.is_some_and(|slash| below(&mounted[slash + 1..]))
        }
    }
}

/// Whether a part of the path is the unit.
fn is_of_unit(path: &str, wanted: &str) -> bool {
    path.split('/').any(|part| part == wanted || part.strip_suffix(".service") == Some(wanted))
}

impl Facts {
    /// Of a running process; `None` if it is gone.
    fn read(pid: u32) -> Option<Self> {
        let directory = Directory::open(pid).ok()?;
        let stat = directory.stat().ok()?;
        // Threads of the kernel have no memory of their own.
        if stat.vsize == 0 {
            return None;
        }
        let groups = directory.read("cgroup", CGROUP_LIMIT).ok()?;
        Some(Self { pid, comm: stat.comm, cgroups: paths(&groups) })
    }
}

impl Process {
    /// The service, container or pod that it belongs to, if its control group tells.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        let groups = self.ask(|directory| directory.read("cgroup", CGROUP_LIMIT)).ok()?;
        let by_memory = memory_cgroup(&groups);
        let paths = by_memory.into_iter().chain(paths(&groups));
        paths.map(|path| Place::of(&path).to_string()).find(|place| !place.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(cgroup: &str) -> Facts {
        Facts { pid: 7, comm: "gunicorn".into(), cgroups: vec!["/".into(), cgroup.into()] }
    }

    #[test]
    fn a_group_is_wanted_with_all_that_is_in_it() {
        let worker = facts("/app.slice/web.service/workers");
        let fits = |path: &str| Wanted::Cgroup(path.into()).fits(&worker);
        assert!(fits("/app.slice") && fits("app.slice/web.service/") && fits("/"));
        assert!(!fits("/app.slice/we") && !fits("/web.service"));
        for mounted in ["/sys/fs/cgroup/app.slice", "/sys/fs/cgroup/memory/app.slice/web.service"] {
            assert!(fits(mounted), "{mounted}");
        }
        assert!(!fits("/sys/fs/cgroup/memory/other.slice"));
    }

    #[test]
    fn only_a_group_that_exists_can_be_watched() {
        let own = fs::read("/proc/self/cgroup").unwrap();
        let own = memory_cgroup(&own).unwrap();
        for exists in [own.clone(), own.trim_start_matches('/').to_owned()] {
            assert!(Wanted::Cgroup(exists.clone()).check().is_ok(), "{exists}");
        }
        for missing in ["/never/was", "/sys/fs/cgroup/never/was"] {
            assert!(Wanted::Cgroup(missing.into()).check().is_err(), "{missing}");
        }
        assert!(Wanted::Unit("never-was".into()).check().is_ok(), "it may come later");
    }

    #[test]
    fn a_unit_is_known_by_its_name_alone() {
        let worker = facts("/system.slice/web.service/workers");
        let fits = |unit: &str| Wanted::Unit(unit.into()).fits(&worker);
        assert!(fits("web") && fits("web.service") && fits("system.slice"));
        assert!(!fits("we") && !fits("workers.service"));
    }

    #[test]
    fn the_kernel_cuts_long_names() {
        let named = |comm: &str| Facts { comm: comm.into(), ..facts("/") };
        let wanted = Wanted::Comm("composite-worker-7".into());
        assert!(wanted.fits(&named("composite-worke")) && !wanted.fits(&named("composite")));
        assert!(Wanted::Comm("gunicorn".into()).fits(&facts("/")));
        assert!(!Wanted::Comm("gunicor".into()).fits(&facts("/")));
    }
}
