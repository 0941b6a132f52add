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
    let shown = &advice[..advice.len().min(TOP)];
    for advice in shown {
        row(profile, advice, page);
        if let Some(text) = largest(advice, &names) {
            page.paragraph(&text, "      ");
        }
        if let Some(budget) = budget.filter(|_| is_largest_of_its_kind(profile, advice, shown)) {
            page.paragraph(&workers(advice, budget), "      ");
        }
    }
    page.more(advice.len(), TOP, "processes");
    page.paragraph(&basis(profile, &advice), "  ");
}

/// Workers of one kind need as much room as the largest of them.
fn is_largest_of_its_kind(profile: &Profile, advice: &Advice, all: &[Advice]) -> bool {
    let kind = |subject: Subject| match subject {
        Subject::Process(index) => {
            let process = profile.processes.get(index as usize)?;
            Some(process.role.as_ref().unwrap_or(&process.comm))
        }
        Subject::Group(_) => None,
    };
    let own = kind(advice.subject);
    let alike = all.iter().filter(|other| own.is_some() && kind(other.subject) == own);
    // The first of those that are as large.
    let largest = alike.rev().max_by_key(|other| other.peak);
    largest.is_none_or(|largest| largest.subject == advice.subject)
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

/// Whether its peak may be from before the run.
fn is_older(profile: &Profile, subject: Subject) -> bool {
    let Subject::Group(index) = subject else { return false };
    let group = profile.groups.get(index as usize);
    let is_kernels =
        group.is_some_and(|group| group.highest_working_set == 0 && group.peak.is_some());
    is_kernels || profile.incident.is_some()
}

/// What the numbers rest on.
fn basis(profile: &Profile, advice: &[Advice]) -> String {
    let Some(Advice { observed, headroom, .. }) = advice.first() else { return String::new() };
    let mut text = format!(
        "Request and limit are for Kubernetes, MemoryHigh and MemoryMax for systemd. They rest on one \
         run that was observed for {}: the limit is the highest RSS ever seen (of a group, the highest \
         working set or usage) and {headroom} % more, the request what it stayed below for nine tenths of the \
         time and 10 % more. Above MemoryHigh, {} % more than the highest, the kernel takes memory back \
         and slows the service down; at MemoryMax it kills. What other inputs need is not known.",
        Elapsed(*observed),
        headroom / 3
    );
    if advice.iter().any(|advice| is_older(profile, advice.subject)) {
        text += " The peak of a group may be from before, of processes that are gone.";
    }
    if advice.iter().any(|advice| advice.was_killed) {
        text += " It was killed at its limit: it would have needed more than it got, nobody knows how \
                 much, so that these numbers are the least.";
    }
    if advice.iter().any(|advice| advice.largest.is_some()) {
        text += " Without its largest line another moment may be the peak.";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{profile::Process, report::summary::Screen};

    #[test]
    fn a_pool_is_told_once_how_many_fit() {
        let worker = |mib: u64, role: &str| Process {
            role: Some(role.into()),
            highest_rss_bytes: Some(mib << 20),
            ..Process::default()
        };
        let processes =
            [worker(80, "pool"), worker(90, "pool"), worker(70, "main"), worker(85, "pool")];
        let profile = Profile { processes: processes.into(), ..Profile::default() };
        let mut page = Page::new(Screen::default());
        write(&profile, Some(1 << 30), &mut page);
        let text = page.text();
        assert_eq!(text.matches("of them fit into 1.00 GiB").count(), 2, "{text}");
    }
}
