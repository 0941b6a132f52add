//! Control groups as the kernel shows them: what limits the memory of several processes together,
//! and how much of it they use. Knows version 1 and version 2, and where each is mounted.

use std::{
    fs,
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    time::Duration,
};

use super::{pressure, survey};

/// No file of a control group that is read here is longer.
const LIMIT: u64 = 1 << 20;
/// Version 1 writes "no limit" as the largest number of whole pages.
const UNLIMITED: u64 = 1 << 62;
/// Groups within a group that are looked at.
const MAX_GROUPS: usize = 10_000;

/// Where the control groups that limit memory are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    mount: PathBuf,
    /// The group that is mounted there, which is another than `/` inside a container.
    top: String,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The memory of a group at one moment, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupMemory {
    /// What it may use; `None`: as much as there is.
    pub limit: Option<u64>,
    /// What it uses, page cache included.
    pub usage: u64,
    /// The most it has used; `None`: the kernel does not say.
    pub peak: Option<u64>,
    /// How often its limit was hit and something had to be done.
    pub hits: u64,
    /// How many of its processes the kernel has killed.
    pub kills: u64,
    /// How long its processes have waited for memory so far; `None`: the kernel does not say.
    pub stalled: Option<Duration>,
    /// Everything in `memory.stat`, in the kernel's order.
    pub stat: Vec<(String, u64)>,
}

impl GroupMemory {
    /// What it uses without page cache that has not been used lately: what Kubernetes calls the
    /// working set.
    #[must_use]
    pub fn working_set(&self) -> u64 {
        let inactive = ["total_inactive_file", "inactive_file"];
        let value = |name| self.stat.iter().find(|(known, _)| known == name);
        let inactive = inactive.into_iter().find_map(value).map_or(0, |(_, bytes)| *bytes);
        self.usage.saturating_sub(inactive)
    }
}

impl Groups {
    /// Looks for them among the mounts of memtrace itself.
    pub fn find() -> io::Result<Self> {
        let mounts = fs::read("/proc/self/mountinfo")?;
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no control groups are mounted");
        Self::among(&mounts).ok_or_else(missing)
    }

    /// Version 1 has precedence: where its memory controller is, version 2 has none.
    fn among(mounts: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(mounts);
        let find = |version| text.lines().find_map(|line| mounted(line, version));
        find(Version::One).or_else(|| find(Version::Two))
    }

    /// What the version is called.
    #[must_use]
    pub const fn version(&self) -> &'static str {
        match self.version {
            Version::One => "version 1",
            Version::Two => "version 2",
        }
    }

    /// Where the files of a group are; its path is as `/proc/PID/cgroup` has it.
    fn folder(&self, path: &str) -> PathBuf {
        let within = path.strip_prefix(self.top.trim_end_matches('/')).unwrap_or(path);
        let parts = Path::new(within).components();
        // Paths come from the command line and from containers.
        let parts = parts.filter(|part| matches!(part, Component::Normal(_)));
        self.mount.join(parts.collect::<PathBuf>())
    }

    /// A path as users type it, with or without the mount point, as `/proc/PID/cgroup` has it.
    pub fn resolve(&self, typed: &str) -> io::Result<String> {
        let within = Path::new(typed).strip_prefix(&self.mount).ok();
        let within = within.map_or_else(|| typed.to_owned(), |path| path.display().to_string());
        let path = format!("{}/{}", self.top.trim_end_matches('/'), within.trim_matches('/'));
        let path = if within.starts_with(&self.top) && self.top != "/" { within } else { path };
        fs::metadata(self.folder(&path).join("cgroup.procs")).map(|_| path)
    }

    /// The memory of a group now.
    pub fn memory(&self, path: &str) -> io::Result<GroupMemory> {
        let folder = self.folder(path);
        let file = |name: &str| read(&folder.join(name));
        let number = |name| file(name).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let event = |name, event| table(&file(name).unwrap_or_default()).find_map(value(event));
        let stat = table(&file("memory.stat")?).collect();
        let pressure = || pressure::stalled(&file("memory.pressure").ok()?);
        Ok(match self.version {
            Version::One => GroupMemory {
                limit: number("memory.limit_in_bytes").filter(|limit| *limit < UNLIMITED),
                usage: number("memory.usage_in_bytes").unwrap_or(0),
                peak: number("memory.max_usage_in_bytes"),
                hits: number("memory.failcnt").unwrap_or(0),
                kills: event("memory.oom_control", "oom_kill").unwrap_or(0),
                stalled: None,
                stat,
            },
            // The root has none of these files.
            Version::Two => GroupMemory {
                limit: number("memory.max"),
                usage: number("memory.current").unwrap_or(0),
                peak: number("memory.peak"),
                hits: event("memory.events.local", "oom")
                    .or_else(|| event("memory.events", "oom"))
                    .unwrap_or(0),
                kills: event("memory.events", "oom_kill").unwrap_or(0),
                stalled: pressure(),
                stat,
            },
        })
    }

    /// The processes in a group and in the groups within it.
    #[must_use]
    pub fn members(&self, path: &str) -> Vec<u32> {
        let (mut members, mut folders, mut looked_at) = (Vec::new(), vec![self.folder(path)], 0);
        while let Some(folder) = folders.pop().filter(|_| looked_at < MAX_GROUPS) {
            looked_at += 1;
            let text = read(&folder.join("cgroup.procs")).unwrap_or_default();
            members.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            let entries = fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            let inner = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            folders.extend(inner.map(|entry| entry.path()));
        }
        members
    }
}

/// A group and those around it, the innermost first; without the outermost, which has no limit.
#[must_use]
pub fn around(path: &str) -> Vec<String> {
    let paths = Path::new(path).ancestors().map(|path| path.to_string_lossy().into_owned());
    paths.filter(|path| !path.is_empty() && path != "/").collect()
}

/// The nearest control group around memtrace that limits memory: what memtrace needs counts there.
#[must_use]
pub fn own_limit(groups: &Groups) -> Option<(String, u64)> {
    let own = survey::cgroup(std::process::id())?;
    let limit = |path: String| Some((groups.memory(&path).ok()?.limit?, path));
    around(&own).into_iter().find_map(limit).map(|(limit, path)| (path, limit))
}

/// `ID PARENT DEVICE ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE OPTIONS`.
fn mounted(line: &str, version: Version) -> Option<Groups> {
    let (place, kind) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (top, mount) = (place.next()?, place.next()?);
    let mut kind = kind.split(' ');
    let (name, options) = (kind.next()?, kind.nth(1)?);
    let is_wanted = match version {
        Version::One => name == "cgroup" && options.split(',').any(|option| option == "memory"),
        Version::Two => name == "cgroup2",
    };
    is_wanted.then(|| Groups { mount: mount.into(), top: top.into(), version })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

/// Lines of a name and a number.
fn table(text: &str) -> impl Iterator<Item = (String, u64)> {
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(line)
}

fn value(name: &str) -> impl FnMut((String, u64)) -> Option<u64> {
    move |(known, value)| (known == name).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_with_the_memory_controller_is_taken() {
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            33 31 0:30 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw shared:5 - cgroup cgroup rw,memory\n";
        let groups = Groups::among(hybrid).unwrap();
        assert_eq!(groups.version(), "version 1");
        assert_eq!(groups.folder("/a/b"), Path::new("/sys/fs/cgroup/memory/a/b"));
        let unified = b"41 31 0:38 /docker/1 /sys/fs/cgroup ro - cgroup2 cgroup rw,nsdelegate\n";
        let groups = Groups::among(unified).unwrap();
        assert_eq!(groups.version(), "version 2");
        assert_eq!(groups.folder("/docker/1/job"), Path::new("/sys/fs/cgroup/job"));
        assert_eq!(Groups::among(b"1 2 0:1 / / rw - ext4 /dev/vda rw\n\n-"), None);
    }

    #[test]
    fn no_path_leads_out_of_the_mount() {
        let mounts = b"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let groups = Groups::among(mounts).unwrap();
        assert_eq!(groups.folder("/../../etc"), Path::new("/sys/fs/cgroup/etc"));
    }

    #[test]
    fn limits_count_from_the_inside() {
        assert_eq!(around("/kubepods/pod1/c"), ["/kubepods/pod1/c", "/kubepods/pod1", "/kubepods"]);
        assert_eq!(around("/"), Vec::<String>::new());
    }

    #[test]
    fn the_working_set_leaves_out_page_cache_that_is_not_used() {
        let stat = vec![("inactive_file".into(), 1), ("total_inactive_file".into(), 30)];
        let memory = GroupMemory { usage: 100, stat, ..GroupMemory::default() };
        assert_eq!(memory.working_set(), 70);
    }

    #[test]
    fn this_machine_has_groups_with_members() {
        let groups = Groups::find().unwrap();
        assert!(groups.members("/").contains(&std::process::id()));
        assert!(groups.memory("/").unwrap().stat.len() > 10);
        assert_eq!(groups.resolve("/").unwrap(), "/");
        assert!(groups.resolve("/no/such/group").is_err());
    }
}
