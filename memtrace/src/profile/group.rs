//! A control group: processes whose memory is limited together.

use serde::{Deserialize, Serialize};

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

/// Hexadecimal digits that name a container to people.
const SHORT_ID: usize = 12;

impl Group {
    /// What people call it; `None` where the path does not tell.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        group_name(&self.path)
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

/// The systemd unit, container or pod that a path of a control group names.
#[must_use]
pub fn group_name(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|part| container(part).or_else(|| pod(part)).or_else(|| unit(part)))
}

/// `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID`, or an `ID` alone.
fn container(part: &str) -> Option<String> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = part.rsplit('-').next()?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| format!("container {}", &id[..SHORT_ID]))
}

/// `kubepods-burstable-podUID.slice`, or `podUID`.
fn pod(part: &str) -> Option<String> {
    let part = part.strip_suffix(".slice").unwrap_or(part);
    let id = part.rsplit_once("-pod").map(|(_, id)| id).or_else(|| part.strip_prefix("pod"))?;
    let id = id.replace('_', "-");
    let is_id = id.len() >= 32 && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    is_id.then(|| format!("pod {id}"))
}

fn unit(part: &str) -> Option<String> {
    let kinds = [".service", ".scope"];
    kinds.iter().any(|kind| part.ends_with(kind)).then(|| format!("unit {part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_units_containers_and_pods() {
        let id = "0123456789abcdef".repeat(4);
        let name = |path: &str| group_name(path).unwrap_or_default();
        assert_eq!(name("/system.slice/worker.service"), "unit worker.service");
        assert_eq!(name(&format!("/docker/{id}")), "container 0123456789ab");
        assert_eq!(name(&format!("/system.slice/docker-{id}.scope")), "container 0123456789ab");
        let pod = "kubepods-burstable-pod7f3c5c1e_0f5a_4a52_9b6e_0b5a2f6c1d2e.slice";
        assert_eq!(name(&format!("/kubepods/{pod}")), "pod 7f3c5c1e-0f5a-4a52-9b6e-0b5a2f6c1d2e");
        assert_eq!(name(&format!("/kubepods/{pod}/{id}")), "container 0123456789ab");
        assert_eq!((name("/"), name("/jobs/podium")), (String::new(), String::new()));
    }
}
