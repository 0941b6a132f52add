//! What memtrace itself may do: which capabilities it has and lacks, and what gives them to it.

use std::io;

use super::{directory::Directory, status};

/// A right that root can be without, as in a container.
#[derive(Debug, PartialEq, Eq)]
pub struct Capability {
    /// As `--cap-add` of container engines takes it; its full name begins with `CAP_`.
    pub name: &'static str,
    /// What memtrace does with it.
    pub purpose: &'static str,
    /// Bit in the kernel's sets (include/uapi/linux/capability.h).
    number: u32,
}

/// What tracing needs. Linux 6.16, and the stable kernels of that summer, took uprobes away from
/// `CAP_PERFMON` and gave them back to `CAP_SYS_ADMIN` alone.
pub const NEEDED: [Capability; 2] = [
    Capability { name: "SYS_ADMIN", purpose: "puts probes on functions", number: 21 },
    Capability {
        name: "SYS_PTRACE",
        purpose: "reads the memory of processes that have more rights than memtrace, or others",
        number: 19,
    },
];

/// What brings back what everything about processes is read from.
pub const MOUNT_PROC: &str = "/proc: mount it: mount -t proc proc /proc";

/// What tracing needs and memtrace does not have. An error if processes cannot be looked at.
pub fn missing() -> io::Result<Vec<&'static Capability>> {
    let held = status::effective_capabilities(&Directory::open(std::process::id())?)?;
    Ok(lacking(held))
}

/// What gives memtrace its rights, as a sentence about `command`.
#[must_use]
pub fn remedy(command: &str) -> String {
    // SAFETY: the call takes nothing and changes nothing.
    let is_root = unsafe { libc::geteuid() } == 0;
    if is_root { remedy_for_root(&missing().unwrap_or_default()) } else { as_root(command) }
}

fn as_root(command: &str) -> String {
    format!("run it as root: sudo {command}")
}

/// Root of a container.
fn remedy_for_root(missing: &[&Capability]) -> String {
    if missing.is_empty() {
        return "this root has all rights of its container and no more: run it on the host".into();
    }
    let names: Vec<_> = missing.iter().map(|capability| capability.name).collect();
    let options = names.join(" --cap-add ");
    format!(
        "this root lacks capabilities; run it on the host, or with: docker run --cap-add {options}"
    )
}

fn lacking(held: u64) -> Vec<&'static Capability> {
    NEEDED.iter().filter(|needed| held & 1 << needed.number == 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_lacks_capabilities_is_not_sent_to_sudo() {
        let all = 1 << 21 | 1 << 19;
        assert_eq!(lacking(all), Vec::<&Capability>::new());
        assert_eq!(lacking(u64::MAX), Vec::<&Capability>::new());
        assert!(remedy_for_root(&lacking(1 << 19)).ends_with("docker run --cap-add SYS_ADMIN"));
        let both = remedy_for_root(&lacking(0));
        assert!(both.ends_with("docker run --cap-add SYS_ADMIN --cap-add SYS_PTRACE"), "{both}");
        assert!(!both.contains("sudo") && !remedy_for_root(&[]).contains("sudo"));
        assert_eq!(as_root("memtrace doctor"), "run it as root: sudo memtrace doctor");
    }
}
