//! The table of processes: who holds what, and how much of it is their own.

use std::cmp::Reverse;

use super::{Page, TOP};
use crate::{
    profile::{Process, Profile, Together, printable},
    report::units::{Elapsed, Size},
};

/// Of what is said about a process below its sizes.
const INDENT: usize = 12;

/// Prints the table, if there are several processes.
pub(super) fn table(profile: &Profile, page: &mut Page) {
    if profile.processes.len() < 2 {
        return;
    }
    let mut processes: Vec<&Process> = profile.processes.iter().collect();
    let most = |process: &Process| process.amounts.live.max(process.amounts.peak);
    processes.sort_by_key(|process| Reverse((most(process), process.rss_bytes)));
    page.blank();
    page.heading("Processes");
    page.row("       live      peak       RSS       PSS", "");
    for process in processes.iter().take(TOP) {
        page.row(&columns(process), &name(process));
        page.aside(INDENT, &about(process));
    }
    page.more(processes.len(), TOP, "processes");
    together(profile, page);
}

fn columns(process: &Process) -> String {
    let amounts = process.amounts;
    let known =
        |bytes: Option<u64>| bytes.map_or_else(|| "-".into(), |size| Size(size).to_string());
    let [live, peak] = [amounts.live, amounts.peak].map(|amount| Size(amount.bytes).to_string());
    let rss = known(process.rss_bytes);
    let proportional = known(process.sharing.map(|sharing| sharing.proportional));
    format!("  {live:>9} {peak:>9} {rss:>9} {proportional:>9}  ")
}

fn name(process: &Process) -> String {
    let ended =
        process.ended.map(|time| format!(", ended after {}", Elapsed(process.traced(time))));
    format!("{}{}", process.text(), ended.unwrap_or_default())
}

/// Its role, its place, what is its own, and what it has from its parent.
pub(in crate::report) fn about(process: &Process) -> String {
    let inherited = process.amounts.inherited.bytes;
    let inherited = (inherited > 0).then(|| format!("inherited {}", Size(inherited)));
    let private = process.sharing.map(|sharing| format!("{} private", Size(sharing.private)));
    let known = [process.role.as_deref(), process.place.as_deref()];
    let known = known.into_iter().flatten().map(printable);
    let is_past = process.ended.is_some() && process.rss_bytes.is_some();
    let past = is_past.then(|| past(process));
    known.chain(private).chain(inherited).chain(past).collect::<Vec<_>>().join(", ")
}

/// When its numbers are from.
fn past(process: &Process) -> String {
    let more = if process.sharing.is_some() { ", the rest when it was last looked at" } else { "" };
    format!("RSS in its last 2 s{more}")
}

/// What all of them have, or had at most, shared memory counted once.
fn together(profile: &Profile, page: &mut Page) {
    let processes = &profile.processes;
    let sharing = || processes.iter().filter_map(|process| process.sharing);
    let all_run = processes.iter().all(|process| process.ended.is_none());
    if all_run && sharing().count() > 1 {
        let private = sharing().map(|sharing| sharing.private).fold(0, u64::saturating_add);
        let all = sharing().map(|sharing| sharing.proportional).fold(0, u64::saturating_add);
        let text = format!("Together they have {}, {} of it private.", Size(all), Size(private));
        page.paragraph(&text, "  ");
    }
    if let Some(Together { at, proportional, private }) = profile.timeline.together {
        let text = format!(
            "At most they had {} together, {} of it private, as far as it was seen: at {}. What they share \
             counts once there: the sum of PSS.",
            Size(proportional),
            Size(private),
            Elapsed(at)
        );
        page.paragraph(&text, "  ");
    }
}
