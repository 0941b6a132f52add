//! What went wrong with single processes, each reason told once: of thousands many end while they are
//! being read.

use std::{collections::BTreeMap, mem};

use crate::{process::survey, report::units::Count};

/// Reasons that are told apart.
const MAX_REASONS: usize = 64;

/// The reasons, and whom they hit.
#[derive(Default)]
pub(super) struct Failures {
    /// Processes that were gone before everything had been read.
    gone: u64,
    /// How often, and of which process first.
    reasons: BTreeMap<String, (u64, u32)>,
}

impl Failures {
    /// Notes why something of a process could not be done, unless it is gone.
    pub fn note(&mut self, pid: u32, why: &str) {
        if survey::one(pid).is_none_or(|seen| seen.is_dead) {
            self.gone += 1;
        } else {
            self.add(pid, why);
        }
    }

    fn add(&mut self, pid: u32, why: &str) {
        // The process is named once, and not in the reason.
        let why = why.replace(&format!(" of process {pid}"), "");
        let is_full = self.reasons.len() >= MAX_REASONS && !self.reasons.contains_key(&why);
        let why = if is_full { "other reasons".to_owned() } else { why };
        self.reasons.entry(why).or_insert((0, pid)).0 += 1;
    }

    /// A sentence for each reason.
    pub fn take(&mut self) -> Vec<String> {
        let Self { gone, reasons } = mem::take(self);
        let gone = match gone {
            0 => None,
            1 => Some("1 process ended before all of it had been read.".to_owned()),
            _ => Some(format!("{} processes ended before all of them had been read.", Count(gone))),
        };
        let sentence = |(why, (count, pid)): (String, (u64, u32))| match count {
            1 => format!("process {pid}: {why}"),
            _ => format!("{} processes, such as {pid}: {why}", Count(count)),
        };
        gone.into_iter().chain(reasons.into_iter().map(sentence)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::workload::Workload;

    #[test]
    fn a_reason_is_told_once() {
        let mut failures = Failures::default();
        let sleeps = [(); 2].map(|()| Workload::spawn("sleep", &["1000"]));
        for sleep in &sleeps {
            let pid = sleep.pid();
            failures.note(pid, &format!("read the mappings of process {pid}: Invalid argument"));
        }
        let first = sleeps[0].pid();
        assert_eq!(
            failures.take(),
            [format!("2 processes, such as {first}: read the mappings: Invalid argument")]
        );
        assert!(failures.take().is_empty());
    }

    #[test]
    fn whoever_is_gone_is_counted() {
        let mut failures = Failures::default();
        for _ in 0..2 {
            // No process has this id (`PID_MAX_LIMIT`).
            failures.note(1 << 30, "No such process (os error 3)");
        }
        assert_eq!(failures.take(), ["2 processes ended before all of them had been read."]);
    }

    #[test]
    fn reasons_are_bounded() {
        let mut failures = Failures::default();
        (0..1000).for_each(|number| failures.add(1, &number.to_string()));
        let told = failures.take();
        assert_eq!(told.len(), MAX_REASONS + 1);
        assert!(told.last().unwrap().ends_with("other reasons"), "{told:?}");
    }
}
