//! What a user must know when the budget has acted: when, why, and what is still exact.

use super::units::Elapsed;
use crate::profile::{Process, Profile, Shed, printable};

/// What helps.
const HELP: &str = "--sample 512KiB makes them cheaper, --max-overhead unlimited keeps them";

/// A line for whoever watches.
#[must_use]
pub fn announcement(pid: u32, comm: &str, shed: &Shed) -> String {
    let (name, why) = (printable(comm), why(shed));
    format!("the probes of {name} ({pid}) are off after {}: {why}; {HELP}", Elapsed(shed.at))
}

/// A paragraph for the reports, for each process that it concerns.
pub(super) fn remarks(profile: &Profile) -> impl Iterator<Item = String> {
    let is_sampled = profile.session.sample_interval_bytes > 0;
    let exactness = if is_sampled { "estimates for the time" } else { "exact for the time" };
    let shed = |process: &Process| Some((process.text(), process.shed?));
    profile.processes.iter().filter_map(shed).map(move |(name, shed)| {
        let (at, why) = (Elapsed(shed.at), why(&shed));
        format!(
            "The probes of {name} were taken off after {at}: {why}. Live memory is as of then; \
             peak and allocated memory are {exactness} until then. Tracing went on as with \
             --detail rss: resident memory, by who touched it first, is as of the end. {HELP}."
        )
    })
}

fn why(shed: &Shed) -> String {
    let Shed { share, after, limit, .. } = shed;
    format!(
        "they took {share} of its CPU time for {}, and --max-overhead is {limit}",
        Elapsed(*after)
    )
}
