//! A control group: processes whose memory is limited together.

use serde::{Deserialize, Serialize};

use super::Place;

/// A control group and its memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its path, as `/proc/PID/cgroup` has it; `/` is the whole machine.
    pub path: String,
    /// What it may use; `None`: as much as there is.
    pub limit: Option<u64>,
    /// What it used, page cache included.
    pub usage: u64,
    /// Of that, without page cache that had not been used lately.
    pub working_set: u64,
    /// The most that it ever used; `None`: the kernel does not say.
    pub peak: Option<u64>,
    /// The most of the working sets that were seen.
    pub highest_working_set: u64,
    /// What the working set was below in nine tenths of the looks.
    pub usual_working_set: u64,
    /// How many of its processes the kernel has killed for want of memory.
    pub kills: u64,
    /// `memory.stat`, in the kernel's words; empty, and what is in use 0: it was not looked at in time.
    pub stat: Vec<(String, u64)>,
    /// Traced processes in it or in groups within it: indices into the profile's processes.
    pub processes: Vec<u32>,
}

impl Group {
    /// What people call it; `None` where the path does not tell.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        Some(Place::of(&self.path).to_string()).filter(|name| !name.is_empty())
    }

    /// Whether it was looked at in time, so that it is known what was in use.
    #[must_use]
    pub fn was_seen(&self) -> bool {
        !self.stat.is_empty()
    }

    /// A number of `memory.stat`: of the group with those within it, under both versions' names.
    #[must_use]
    pub fn counted(&self, version_1: &str, version_2: &str) -> Option<u64> {
        let find = |name: &str| self.stat.iter().find(|(known, _)| known == name);
        find(version_1).or_else(|| find(version_2)).map(|(_, bytes)| *bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_name_of_its_place() {
        let name = |path: &str| Group { path: path.into(), ..Group::default() }.name();
        assert_eq!(name("/system.slice/worker.service").as_deref(), Some("worker.service"));
        let machine = "/machine.slice/machine-arch\\x2dbox.scope";
        assert_eq!(name(machine).as_deref(), Some("container arch-box"));
        assert_eq!((name("/"), name("/jobs/podium")), (None, None));
    }
}
