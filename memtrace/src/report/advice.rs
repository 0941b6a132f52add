//! Which limits to set, in words that say on what they rest.

use super::{
    remarks::NO_FRAME,
    summary::page::Page,
    units::{Count, Elapsed, Size},
};
use crate::profile::{Advice, Profile, Subject, printable};

/// Processes and groups that are advised on.
const TOP: usize = 8;

/// Limits for each group and process.
pub(super) fn write(profile: &Profile, budget: Option<u64>, page: &mut Page) {
    let advice = profile.advice();
    if advice.is_empty() {
        return;
    }
    page.blank();
    page.heading("Limits to set");
    page.row("    request     limit MemoryHigh MemoryMax      peak   usually  ", "");
    let names = profile.frame_texts();
    for advice in advice.iter().take(TOP) {
        row(profile, advice, page);
        if let Some(text) = largest(advice, &names) {
            page.paragraph(&text, "      ");
        }
        if let Some(budget) = budget {
            page.paragraph(&workers(advice, budget), "      ");
        }
    }
    page.more(advice.len(), TOP, "processes");
    page.paragraph(&basis(&advice), "  ");
}

fn row(profile: &Profile, advice: &Advice, page: &mut Page) {
    let Advice { request, limit, high, max, peak, usual, .. } = *advice;
    let [request, limit, max, peak, usual] =
        [request, limit, max, peak, usual].map(|bytes| Size(bytes).to_string());
    let high = Size(high).to_string();
    let columns = format!("  {request:>9} {limit:>9} {high:>10} {max:>9} {peak:>9} {usual:>9}  ");
    page.row(&columns, &subject(profile, advice.subject));
}

fn subject(profile: &Profile, subject: Subject) -> String {
    match subject {
        Subject::Process(index) => {
            profile.processes.get(index as usize).map(crate::profile::Process::text)
        }
        Subject::Group(index) => profile.groups.get(index as usize).map(|group| {
            group.name().map_or_else(|| printable(&group.path), |name| printable(&name))
        }),
    }
    .unwrap_or_default()
}

/// What sets the peak, and what would be without it.
fn largest(advice: &Advice, names: &[String]) -> Option<String> {
    let largest = advice.largest?;
    let name = largest.frame.map_or(NO_FRAME, |frame| &names[frame as usize]);
    Some(format!(
        "limit {} without the {} that {name} held at the peak",
        Size(largest.limit_without),
        Size(largest.bytes)
    ))
}

fn workers(advice: &Advice, budget: u64) -> String {
    let (workers, budget) = (Count(advice.workers(budget)), Size(budget));
    match advice.shared {
        0 => format!("{workers} of them fit into {budget}, each up to its limit"),
        shared => format!(
            "{workers} of them fit into {budget}: {} for each, and once the {} that they share with \
             their parent and each other, as long as nobody writes to it",
            Size(advice.each()),
            Size(shared),
        ),
    }
}

/// What the numbers rest on.
fn basis(advice: &[Advice]) -> String {
    let Some(Advice { observed, headroom, .. }) = advice.first() else { return String::new() };
    let mut text = format!(
        "Request and limit are for Kubernetes, MemoryHigh and MemoryMax for systemd. They rest on one \
         run that was observed for {}: the limit is the highest RSS ever seen (of a group, the highest \
         working set or usage) and {headroom} % more, the request what it stayed below for nine tenths of the \
         time and 10 % more. What other inputs need is not known.",
        Elapsed(*observed)
    );
    if advice.iter().any(|advice| advice.was_killed) {
        text += " It was killed at its limit: it would have needed more than it got, nobody knows how \
                 much, so that these numbers are the least.";
    }
    if advice.iter().any(|advice| advice.largest.is_some()) {
        text += " Without its largest line another moment may be the peak.";
    }
    text
}
