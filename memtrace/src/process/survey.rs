//! All processes of the machine at one moment, each by one short line: cheap enough to be done
//! every second on a machine with thousands of them. Takes no lock that a stuck process holds.

use std::{
    fs::{self, File},
    io::{self, Read as _},
};

use super::{
    CGROUP_LIMIT, Identity, cgroup::memory_cgroup, directory::parse_stat, status::printable,
};

/// `stat` is one line.
const STAT_LIMIT: u64 = 16 << 10;
const PAGE: u64 = 4096;

/// A process as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which process.
    pub identity: Identity,
    /// Its short name.
    pub comm: String,
    /// Its RSS in bytes.
    pub resident: u64,
    /// Whether it has been killed or has ended, and is not collected yet.
    pub is_dead: bool,
}

/// Every process that has memory of its own, or had until it ended.
pub fn all() -> io::Result<Vec<Seen>> {
    let entries = fs::read_dir("/proc")?.filter_map(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(one).collect())
}

/// One process; `None` if it is gone, or is the kernel's own.
#[must_use]
pub fn one(pid: u32) -> Option<Seen> {
    let stat = parse_stat(&read(pid, "stat", STAT_LIMIT)?).ok()?;
    let is_dead = matches!(stat.state, 'Z' | 'X');
    (stat.vsize > 0 || is_dead).then(|| Seen {
        identity: Identity { pid, start_time: stat.starttime },
        comm: printable(stat.comm.as_bytes()),
        resident: stat.rss.saturating_mul(PAGE),
        is_dead,
    })
}

/// Path of the control group that limits the memory of a process; `None` if it is gone.
#[must_use]
pub fn cgroup(pid: u32) -> Option<String> {
    let path = memory_cgroup(&read(pid, "cgroup", CGROUP_LIMIT)?)?;
    // Whoever ends is moved to the root, after its memory is given back (`do_exit`).
    one(pid).filter(|seen| !seen.is_dead).map(|_| path)
}

fn read(pid: u32, entry: &str, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/{entry}")).ok()?;
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memtrace_sees_itself() {
        let own = std::process::id();
        let all = all().unwrap();
        let seen = all.iter().find(|seen| seen.identity.pid == own).unwrap();
        assert!(seen.resident > 1 << 20 && !seen.is_dead, "{seen:?}");
        assert!(cgroup(own).unwrap().starts_with('/'));
        assert!(one(2).is_none(), "kthreadd is the kernel's own");
    }
}
