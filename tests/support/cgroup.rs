//! Control groups with a memory limit, of whichever version the machine has.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use super::observe::wait_until;

/// A group; it and its processes are gone when this is dropped.
pub struct Cgroup {
    folder: PathBuf,
    /// Its path, as `/proc/PID/cgroup` has it.
    pub path: String,
}

/// Where groups that limit memory are, and whether they are of version 1.
fn hierarchy() -> (PathBuf, bool) {
    let find = |is_wanted: fn(&[&str]) -> bool| {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("Linux says it");
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let mut wanted = fields.filter(|fields| is_wanted(fields));
        wanted.next().map(|fields| PathBuf::from(fields[1]))
    };
    let is_first = |fields: &[&str]| {
        fields[2] == "cgroup" && fields[3].split(',').any(|option| option == "memory")
    };
    if let Some(mount) = find(is_first) {
        return (mount, true);
    }
    let second = find(|fields| fields[2] == "cgroup2").filter(|mount| {
        let controllers = fs::read_to_string(mount.join("cgroup.controllers"));
        controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == "memory"))
    });
    second.map_or_else(|| (mount_first(), true), |mount| (mount, false))
}

/// The memory controller is on neither: a small system has mounted nothing.
fn mount_first() -> PathBuf {
    let folder = PathBuf::from("/run/memtrace-test-cgroup");
    fs::create_dir_all(&folder).expect("tests run as root");
    let status = Command::new("mount")
        .args(["-t", "cgroup", "-o", "memory", "memtrace-test"])
        .arg(&folder)
        .status()
        .expect("mount starts");
    assert!(status.success(), "the kernel has control groups that limit memory");
    folder
}

impl Cgroup {
    /// A group without a limit, for groups within it.
    pub fn parent() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let (mount, _) = hierarchy();
        Self::at(&mount, &format!("memtrace-test-{}-{number}", std::process::id()))
    }

    /// A group with a limit.
    pub fn limited(bytes: u64) -> Self {
        let group = Self::parent();
        group.limit(bytes);
        group
    }

    /// A group with a limit within this one.
    pub fn child(&self, name: &str, bytes: u64) -> Self {
        let name = format!("{}/{name}", self.path.trim_start_matches('/'));
        let group = Self::at(&hierarchy().0, &name);
        group.limit(bytes);
        group
    }

    fn at(mount: &Path, name: &str) -> Self {
        let folder = mount.join(name);
        let above = folder.parent().expect("within the mount");
        // Version 2 wants to be asked; version 1 has no such file.
        let _ = fs::write(above.join("cgroup.subtree_control"), "+memory");
        fs::create_dir_all(&folder).expect("tests run as root");
        Self { folder, path: format!("/{name}") }
    }

    fn limit(&self, bytes: u64) {
        let (_, is_first) = hierarchy();
        let file = if is_first { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(self.folder.join(file), bytes.to_string()).expect("a limit can be set");
        // Where there is swap the limit would be reached much later.
        let _ = fs::write(self.folder.join("memory.swap.max"), "0");
        let _ = fs::write(self.folder.join("memory.swappiness"), "0");
    }

    /// Lets the kernel kill all of the group where it kills one; whether it can, with version 2.
    pub fn kill_as_one(&self) -> bool {
        fs::write(self.folder.join("memory.oom.group"), "1").is_ok()
    }

    /// Moves a process here.
    pub fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("it can be moved");
    }

    fn members(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for pid in self.members() {
            // SAFETY: the call takes two integers; the process is one of the test's own.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        wait_until("its processes are gone", || self.members().is_empty());
        // A group within this one may still be there if the test failed.
        let _ = fs::remove_dir(&self.folder);
    }
}
