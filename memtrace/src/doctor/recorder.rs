//! What `memtrace oom` needs besides; without it the rest of memtrace works.

use std::io;

use crate::{
    kernel,
    process::{groups::Groups, kernel_log::KernelLog, pressure},
};

/// Something that there is or is not.
struct Finding {
    name: String,
    is_there: bool,
    purpose: &'static str,
    without: &'static str,
}

/// Writes what there is.
pub(super) fn write(out: &mut impl io::Write) -> io::Result<()> {
    for Finding { name, is_there, purpose, without } in findings() {
        writeln!(out, "{} {name}", if is_there { "ok      " } else { "LIMITED " })?;
        writeln!(out, "         for: memtrace oom: {purpose}")?;
        writeln!(out, "         without: {without}")?;
    }
    Ok(())
}

fn findings() -> Vec<Finding> {
    let groups = Groups::find();
    let version = groups.as_ref().map_or("not mounted", Groups::version);
    let mut findings = vec![
        Finding {
            name: format!("control groups ({version})"),
            is_there: groups.is_ok(),
            purpose: "tells which limit was hit, and who shares it",
            without: "memtrace oom does not start: mount -t cgroup2 none /sys/fs/cgroup",
        },
        Finding {
            name: "pressure of memory (PSI, Linux 4.20)".into(),
            is_there: pressure::of_machine().is_some(),
            purpose: "takes snapshots ahead of a kill when processes wait for memory",
            without: "they are taken near a limit only; boot with psi=1",
        },
        Finding {
            name: "the kernel's log".into(),
            is_there: KernelLog::open().is_ok(),
            purpose: "says for certain which limit was hit",
            without: "it is found out by the groups' counters",
        },
    ];
    let tracepoints = kernel::kill_tracepoints().into_iter().flatten();
    findings.extend(tracepoints.map(|(name, is_there)| Finding {
        name: name.into(),
        is_there,
        purpose: "notices them at once, and keeps what is known of the victim",
        without: "memtrace oom does not start",
    }));
    findings
}
