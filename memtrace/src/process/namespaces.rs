//! Which pid namespace memtrace itself is in: the kernel programs see process ids of the initial one.

use std::{error::Error, fmt, fs, io, path::Path, process};

use anyhow::Context as _;

/// What is refused in a pid namespace of its own: the kernel tells of executed programs and of children by
/// ids that mean nothing there.
#[derive(Debug)]
pub struct InNamespace;

impl InNamespace {
    /// What helps.
    #[must_use]
    pub const fn hint() -> &'static str {
        "run memtrace on the host, or with docker run --pid=host; a running process can be traced here: \
         memtrace --pid PID"
    }
}

impl fmt::Display for InNamespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "memtrace runs in a pid namespace of its own, as in a container")
    }
}

impl Error for InNamespace {}

/// An error in a pid namespace of its own.
pub fn ensure_initial_pid_namespace() -> anyhow::Result<()> {
    let is_initial = in_initial_pid_namespace().context("find out the pid namespace")?;
    anyhow::ensure!(is_initial, InNamespace);
    Ok(())
}

/// Number of the initial pid namespace (`PROC_PID_INIT_INO`, include/uapi/linux/nsfs.h; the same
/// since Linux 3.8).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Whether memtrace sees the same process ids as the kernel does.
pub fn in_initial_pid_namespace() -> io::Result<bool> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    Ok(namespace_number(&link) == Some(INITIAL_PID_NAMESPACE))
}

/// Whether a process has the same id in `/proc` as in system calls.
pub(super) fn proc_is_ours() -> io::Result<bool> {
    Ok(fs::read_link("/proc/self")? == Path::new(&process::id().to_string()))
}

/// The number in a link such as `pid:[4026531836]`.
fn namespace_number(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_number_is_read_from_the_link() {
        assert_eq!(namespace_number(Path::new("pid:[4026531836]")), Some(INITIAL_PID_NAMESPACE));
        assert_eq!(namespace_number(Path::new("pid:[402653183]")), Some(402_653_183));
        assert_eq!(namespace_number(Path::new("net:[4026531836]")), None);
    }

    #[test]
    fn kthreadd_is_visible_in_the_initial_namespace_only() {
        let second = fs::read_to_string("/proc/2/comm").unwrap_or_default();
        assert_eq!(in_initial_pid_namespace().unwrap(), second.trim_end() == "kthreadd");
        assert!(proc_is_ours().unwrap());
    }

    #[test]
    fn a_new_namespace_has_another_number() {
        // In a user namespace of one's own, everybody may.
        let unshare = ["--user", "--pid", "--fork", "readlink", "/proc/self/ns/pid"];
        let output = Command::new("unshare").args(unshare).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let link = String::from_utf8(output.stdout).unwrap();
        let number = namespace_number(Path::new(link.trim_end())).unwrap();
        assert_ne!(number, INITIAL_PID_NAMESPACE);
    }
}
