//! Whether the kernel has killed a target for want of memory, as its log says.

use std::collections::BTreeMap;

use super::Targets;
use crate::process::kernel_log::{self, KernelLog};

/// The kernel's log, if it may be read.
pub(super) struct Log(Option<KernelLog>);

impl Log {
    /// From now on.
    pub(super) fn open() -> Self {
        Self(KernelLog::open().ok())
    }

    /// Those that it has killed, one sentence for each.
    pub(super) fn killed(&mut self, targets: &Targets) -> Vec<String> {
        let Some(log) = &mut self.0 else { return Vec::new() };
        log.read();
        // Of several programs in a process the last one was.
        let last: BTreeMap<_, _> = targets.iter().map(|target| (target.pid, target)).collect();
        let ended = last.into_values().filter(|target| target.ended.is_some());
        let said = ended.map(|target| (target, log.about(target.pid)));
        let killed = said.filter(|(_, lines)| !lines.is_empty());
        killed.map(|(target, lines)| sentence(&target.comm, target.pid, &lines)).collect()
    }
}

/// That a process was killed, and the limit that it hit.
fn sentence(comm: &str, pid: u32, log: &[String]) -> String {
    let limit = log.iter().rev().find_map(|line| kernel_log::limit_hit(line));
    let limit = match limit {
        Some("/") => "the machine had none left".to_owned(),
        Some(path) => format!("it hit the limit of the control group {path}"),
        None => "which limit it hit is not known".to_owned(),
    };
    format!("{comm} ({pid}) was killed by the kernel, out of memory: {limit}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_the_kernel_is_told_with_the_limit() {
        let line = "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/jobs,task_memcg=/jobs/1,task=x";
        assert_eq!(
            sentence("python3", 7, &["Killed process 7 (python3)".into(), line.into()]),
            "python3 (7) was killed by the kernel, out of memory: it hit the limit of the control \
             group /jobs."
        );
        assert!(sentence("x", 8, &[]).ends_with("is not known."));
    }
}
