//! What memtrace prints to the terminal: what holds the memory, at a glance.

mod heap;
pub(super) mod page;
pub(super) mod processes;
mod resident;
mod spark;

use std::{io::Write, time::Duration};

use anyhow::{Context as _, Result};

use self::page::Page;
use super::{
    advice, incident, remarks,
    units::{Count, Elapsed, Share, Size},
};
use crate::profile::{Amount, Line, Process, Profile, View};

/// A shorter run says nothing about limits unless that is asked for.
const ADVISED: Duration = Duration::from_mins(1);
/// Lines and processes that are worth the reader's time.
const TOP: usize = 10;

/// What the summary is printed to.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Characters in a line.
    pub width: usize,
    /// Whether it understands colour codes.
    pub colour: bool,
}

impl Default for Screen {
    /// A terminal that nothing is known about.
    fn default() -> Self {
        Self { width: 80, colour: false }
    }
}

/// Prints the summary of `profile`.
pub fn write(profile: &Profile, screen: Screen, to: impl Write) -> Result<()> {
    let mut page = Page::new(screen);
    if let Some(incident) = &profile.incident {
        incident::write(incident, profile, &mut page);
    }
    page.heading(&remarks::subject(profile));
    page.paragraph(&remarks::circumstances(profile, View::Live), "  ");
    totals(profile, &mut page);
    resident::timeline(profile, &mut page);
    processes::table(profile, &mut page);
    let names = profile.frame_texts();
    live_lines(profile, &names, &mut page);
    peak_lines(profile, &names, &mut page);
    resident::decomposition(profile, &mut page);
    resident::segments(profile, &mut page);
    resident::lines(profile, &names, &mut page);
    heap::heaps(profile, &mut page);
    if profile.session.duration >= ADVISED || profile.incident.is_some() {
        advice::write(profile, None, &mut page);
    }
    caveats(profile, &mut page);
    print(&page, to)
}

/// Prints which limits to set, and how many such processes fit into a budget.
pub fn write_advice(
    profile: &Profile,
    budget: Option<u64>,
    screen: Screen,
    to: impl Write,
) -> Result<()> {
    let mut page = Page::new(screen);
    page.heading(&remarks::subject(profile));
    page.paragraph(&remarks::circumstances(profile, View::Live), "  ");
    advice::write(profile, budget, &mut page);
    print(&page, to)
}

fn print(page: &Page, mut to: impl Write) -> Result<()> {
    to.write_all(page.text().as_bytes()).and_then(|()| to.flush()).context("print the summary")
}

fn totals(profile: &Profile, page: &mut Page) {
    let counted = profile.counted();
    page.blank();
    page.row(&total("live", counted.live), &live_time(profile));
    peak(profile, page);
    page.row(&total("allocated", counted.allocated), &rate(profile));
}

/// Of several processes the most that all had at one moment: they peak at different ones.
fn peak(profile: &Profile, page: &mut Page) {
    match profile.timeline.most_live().filter(|_| profile.processes.len() > 1) {
        Some(point) => {
            // Together they are looked at now and then, each counts its own peak all the time.
            let processes = profile.processes.iter();
            let single = processes.map(|process| process.amounts.peak.bytes).max().unwrap_or(0);
            let (bytes, when) = if single > point.live {
                (single, "at least, of one process alone".to_owned())
            } else {
                (point.live, format!("of all together, at {}", Elapsed(point.at)))
            };
            let columns = format!("  {:<9} {:>9} {:>15}          ", "peak", Size(bytes), "");
            page.row(&columns, &when);
        }
        None => page.row(&total("peak", profile.counted().peak), &peak_time(profile)),
    }
}

fn total(name: &str, amount: Amount) -> String {
    format!("  {name:<9} {:>9} {:>15} objects  ", Size(amount.bytes), Count(amount.objects))
}

fn live_time(profile: &Profile) -> String {
    match (&*profile.processes, profile.past()) {
        ([Process { shed: Some(shed), .. }], _) => {
            format!("at {}, when probes ended", Elapsed(shed.at))
        }
        (_, Some(past)) => format!("{} of it of ended processes", Size(past.bytes)),
        _ => "traced and not released".into(),
    }
}

fn peak_time(profile: &Profile) -> String {
    match &*profile.processes {
        [Process { peak_at: Some(time), .. }] => format!("at {}", Elapsed(*time)),
        [_] => "the most live at once".into(),
        _ => "each process at its own peak".into(),
    }
}

fn rate(profile: &Profile) -> String {
    let rate = |process: &Process| {
        let counted_for = process.shed.map_or(profile.session.duration, |shed| shed.at);
        u128::from(process.calls.allocations) * 1_000 / counted_for.as_millis().max(1)
    };
    let rate: u128 = profile.processes.iter().map(rate).sum();
    let noun = if rate == 1 { "allocation" } else { "allocations" };
    format!("{} {noun}/s", Count(u64::try_from(rate).unwrap_or(u64::MAX)))
}

fn live_lines(profile: &Profile, names: &[String], page: &mut Page) {
    let lines = profile.lines(View::Live);
    let total = profile.counted().live.max(profile.total(View::Live));
    page.blank();
    let mut processes = profile.processes.iter();
    let over = processes.len() > 0 && processes.all(|process| process.ended.is_some());
    match &*profile.processes {
        [Process { shed: Some(shed), .. }] => {
            let at = Elapsed(shed.at);
            page.heading(&format!("Live at {at}, when the probes were taken off, by line"));
        }
        _ if over && profile.past().is_some() => {
            page.heading("Live when its process ended, by line");
        }
        _ if over => page.heading("Live at the end, by line"),
        _ if profile.past().is_some() => {
            page.heading("Live now, or when its process ended, by line");
        }
        _ => page.heading("Live now, by line"),
    }
    if lines.is_empty() {
        page.row("  ", "Nothing that was traced is live.");
        return;
    }
    page.row("      bytes   share    objects", "");
    for line in lines.iter().take(TOP) {
        let Amount { bytes, objects } = line.amounts.live;
        let share = Share(bytes, total.bytes).to_string();
        let numbers = format!("  {:>9} {share:>7} {:>10}  ", Size(bytes), Count(objects));
        page.row(&numbers, name(names, line.frame));
        page.aside(numbers.len(), &aside(names, line));
        page.aside(numbers.len(), &resident::absent(line));
    }
    page.more(lines.len(), TOP, "lines");
}

/// What the peak was made of, where that is another story than what is live.
fn peak_lines(profile: &Profile, names: &[String], page: &mut Page) {
    let counted = profile.counted();
    if counted.peak.bytes / 11 <= counted.live.bytes / 10 {
        return;
    }
    let lines = profile.lines(View::Peak);
    page.blank();
    let is_one = profile.processes.len() == 1;
    page.heading(if is_one {
        "Live at the peak, by line"
    } else {
        "Live at the peak of each process, by line"
    });
    if let [process] = &*profile.processes
        && let Some(text) = super::resident::at_peak(process)
    {
        page.paragraph(&text, "  ");
    }
    page.row("    at peak  live now allocated", "");
    for line in lines.iter().take(TOP) {
        let amounts = line.amounts;
        let sizes =
            [amounts.peak, amounts.live, amounts.allocated].map(|amount| Size(amount.bytes));
        let [peak, live, allocated] = sizes;
        let numbers = format!("  {peak:>9} {live:>9} {allocated:>9}  ");
        page.row(&numbers, name(names, line.frame));
    }
    page.more(lines.len(), TOP, "lines");
    let advice = "To lower the peak, lower the first column: \"allocated\" adds up memory that was \
                  released and taken again, and was not in use all at once.";
    page.paragraph(if is_one { advice } else { remarks::SEVERAL_PEAKS }, "  ");
}

fn name(names: &[String], frame: Option<u32>) -> &str {
    frame.map_or(remarks::NO_FRAME, |frame| &names[frame as usize])
}

fn aside(names: &[String], line: &Line) -> String {
    let callee = line.callee.map(|callee| format!("in {}", name(names, Some(callee))));
    let processes = (line.processes > 1).then(|| format!("{} processes", line.processes));
    [processes, callee].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn caveats(profile: &Profile, page: &mut Page) {
    let mut caveats = remarks::caveats(profile, View::Live);
    caveats.extend(remarks::cost(profile));
    if !caveats.is_empty() {
        page.blank();
        page.heading("Caveats");
    }
    for caveat in caveats {
        page.paragraph(&caveat, "  - ");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::profile::example;

    fn summary(profile: &Profile, screen: Screen) -> String {
        let mut bytes = Vec::new();
        write(profile, screen, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_fit_the_screen() {
        for width in [40, 60, 80, 200] {
            let summary = summary(&example::profile(), Screen { width, colour: false });
            let widest = summary.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(60), "{widest} for {width}:\n{summary}");
        }
    }

    #[test]
    fn only_our_own_colour_codes_are_printed() {
        let screen = Screen { colour: true, ..Screen::default() };
        let coloured = summary(&example::profile(), screen);
        assert!(
            coloured.contains("\x1b[1mLive now, or when its process ended, by line\x1b[0m"),
            "{coloured}"
        );
        assert!(!coloured.contains("\x1b[31m"));
        assert!(!summary(&example::profile(), Screen::default()).contains('\x1b'));
    }

    #[test]
    fn one_is_not_several() {
        let mut profile = example::profile();
        profile.session.duration = Duration::from_secs(1);
        for process in &mut profile.processes {
            (process.shed, process.calls.allocations) = (None, 0);
        }
        profile.processes[0].calls.allocations = 1;
        let text = summary(&profile, Screen::default());
        assert!(text.contains(" 1 allocation/s"), "{text}");
    }

    #[test]
    fn many_releases_of_what_was_not_recorded_are_told_of() {
        let mut profile = example::profile();
        let wide = Screen { width: 200, colour: false };
        profile.session.sample_interval_bytes = 0;
        assert!(!summary(&profile, wide).contains("memory that was not recorded"));
        profile.processes[0].calls.unknown_releases = 390_000;
        let text = summary(&profile, wide);
        assert!(text.contains(" releases were of memory that was not recorded"), "{text}");
        // Of a sample, most are.
        profile.session.sample_interval_bytes = 512;
        assert!(!summary(&profile, wide).contains("memory that was not recorded"));
    }

    #[test]
    fn a_peak_like_the_present_is_not_repeated() {
        let mut profile = example::profile();
        assert!(summary(&profile, Screen::default()).contains("Live at the peak"));
        for process in &mut profile.processes {
            process.amounts.peak = process.amounts.live;
        }
        assert!(!summary(&profile, Screen::default()).contains("Live at the peak"));
    }

    #[test]
    fn what_is_live_in_ended_processes_is_told_from_what_is_live_now() {
        let wide = Screen { width: 200, colour: false };
        let mut profile = example::profile();
        for process in &mut profile.processes {
            process.ended = None;
        }
        assert!(!summary(&profile, wide).contains("of ended processes"));
        profile.processes[1].ended = Some(Duration::from_secs(4));
        let text = summary(&profile, wide);
        assert!(text.contains("Live now, or when its process ended, by line"), "{text}");
        assert!(text.contains("of it of ended processes"), "{text}");
        assert!(text.contains("was held by a process that has ended"), "{text}");
    }

    #[test]
    fn what_a_process_held_at_its_end_is_not_compared_with_an_earlier_rss() {
        let mut profile = example::profile();
        for process in &mut profile.processes {
            process.decomposition = None;
        }
        let [now, untraced] =
            ["Live now, or when its process ended, by line", "is not in the stacks"];
        let summary = |profile: &Profile| summary(profile, Screen::default());
        assert!(summary(&profile).contains(now) && summary(&profile).contains(untraced));
        for process in &mut profile.processes {
            process.ended = Some(profile.session.duration);
        }
        assert!(summary(&profile).contains("Live at the end, by line"));
        assert!(!summary(&profile).contains(now) && !summary(&profile).contains(untraced));
    }

    #[test]
    fn an_empty_profile_says_so() {
        let summary = summary(&Profile::default(), Screen::default());
        assert!(summary.contains("Nothing that was traced is live."), "{summary}");
    }
}
