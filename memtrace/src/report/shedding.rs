//! What a user must know when the budget has acted: when, why, and what is still exact.

use super::units::{Elapsed, Things};
use crate::profile::{BasisPoints, Process, Profile, Shed, printable};

/// What helps.
const HELP: &str = "--sample 512KiB makes them cheaper, --max-overhead unlimited keeps them";

/// A line for whoever watches.
#[must_use]
pub fn announcement(pid: u32, comm: &str, shed: &Shed) -> String {
    let (name, why) = (printable(comm), why(shed, "its"));
    format!("the probes of {name} ({pid}) are off after {}: {why}; {HELP}", Elapsed(shed.at))
}

/// A line for whoever watches processes that share their probes; `most` is the one that caused most.
#[must_use]
pub fn announcement_of_all(count: u64, shed: &Shed, most: &str) -> String {
    let cause = if most.is_empty() { String::new() } else { format!("; {most}") };
    let (count, why) = (Things(count, "process"), why(shed, "their"));
    format!("the probes of {count} are off after {}: {why}{cause}; {HELP}", Elapsed(shed.at))
}

/// Which of several processes the probes took most time of.
#[must_use]
pub fn most(pid: u32, comm: &str, share: BasisPoints) -> String {
    let name = printable(comm);
    format!("most of it in the end was {name} ({pid}), {share} of whose CPU time they took then")
}

/// A paragraph for the reports, for each process that it concerns, or for all that shared their probes.
pub(super) fn remarks(profile: &Profile) -> impl Iterator<Item = String> {
    let is_sampled = profile.session.sample_interval_bytes > 0;
    let exactness = if is_sampled { "estimates for the time" } else { "exact for the time" };
    together(profile).into_iter().map(move |(shed, processes)| {
        let (whose, name) = match *processes {
            [only] => ("its", only.text()),
            [first, ..] => {
                let others = Things(processes.len() as u64 - 1, "other process");
                ("their", format!("{} and {others}, which share them,", first.text()))
            }
            [] => ("its", String::new()),
        };
        let (at, why) = (Elapsed(shed.at), why(&shed, whose));
        format!(
            "The probes of {name} were taken off after {at}: {why}. Live memory is as of then; \
             peak and allocated memory are {exactness} until then. Tracing went on as with \
             --detail rss: resident memory, by who touched it first, is as of the end. {HELP}."
        )
    })
}

/// Those that lost their probes at the very same moment had them together.
fn together(profile: &Profile) -> Vec<(Shed, Vec<&Process>)> {
    let mut groups: Vec<(Shed, Vec<&Process>)> = Vec::new();
    for process in &profile.processes {
        let Some(shed) = process.shed else { continue };
        match groups.iter_mut().find(|(other, _)| *other == shed) {
            Some((_, processes)) => processes.push(process),
            None => groups.push((shed, vec![process])),
        }
    }
    groups
}

fn why(shed: &Shed, whose: &str) -> String {
    let Shed { share, after, limit, .. } = shed;
    format!(
        "they took {share} of {whose} CPU time for {}, and --max-overhead is {limit}",
        Elapsed(*after)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_shared_the_probes_is_not_blamed_alone() {
        let at = Duration::from_secs;
        let shed =
            Shed { at: at(9), share: BasisPoints(7_990), after: at(4), limit: BasisPoints(1_000) };
        let process = |pid, at| Process {
            pid,
            comm: "w".into(),
            shed: Some(Shed { at, ..shed }),
            ..Process::default()
        };
        let processes = vec![process(1, at(9)), process(2, at(9)), process(3, at(8))];
        let profile = Profile { processes, ..Profile::default() };
        let remarks: Vec<_> = remarks(&profile).collect();
        let [shared, own] = &*remarks else { panic!("{remarks:?}") };
        assert!(shared.starts_with(
            "The probes of w (1) and 1 other process, which share them, were taken off after 9.0 s: \
             they took 79.9 % of their CPU time for 4.0 s"
        ), "{shared}");
        assert!(own.contains("w (3) were taken off") && own.contains("of its CPU time"), "{own}");
        let line = announcement_of_all(2, &shed, &most(7, "noisy", BasisPoints(9_000)));
        assert!(line.contains("the probes of 2 processes are off after 9.0 s"), "{line}");
        assert!(
            line.contains("most of it in the end was noisy (7), 90 % of whose CPU time they took"),
            "{line}"
        );
    }
}
