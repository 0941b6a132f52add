//! The part of the summary about resident memory: what it consists of, how it went over time.

use super::{Page, TOP, name, spark};
use crate::{
    profile::{Decomposition, Line, Point, Profile, View},
    report::{
        resident::{self, Heaps},
        units::{Elapsed, Share, Size},
    },
};

/// Lines without memory that are told of.
const SPENT: usize = 3;
/// Cells of a line over time.
const CELLS: usize = 40;

/// How memory went over time, in two lines.
pub(super) fn timeline(profile: &Profile, page: &mut Page) {
    let points = &*profile.timeline.points;
    let Some(highest) = profile.timeline.highest().filter(|_| points.len() > 1) else { return };
    let values = |of: fn(&Point) -> u64| points.iter().map(of).collect::<Vec<_>>();
    let (rss, live) = (values(|point| point.resident.sum()), values(|point| point.live));
    let (most, at) = (Size(highest.resident.sum()), Elapsed(highest.at));
    page.blank();
    page.row(&format!("  RSS   {}  ", spark::line(&rss, CELLS)), &format!("to {most}, at {at}"));
    let most = Size(live.iter().copied().max().unwrap_or(0));
    page.row(&format!("  live  {}  ", spark::line(&live, CELLS)), &format!("to {most}"));
}

/// What the resident memory consists of.
pub(super) fn decomposition(profile: &Profile, page: &mut Page) {
    let Some(decomposition) = profile.decomposition() else { return };
    let total = decomposition.resident;
    page.blank();
    let whose = resident::whose(profile);
    page.heading(&format!("RSS{whose}, {}, by use", Size(total)));
    page.row("      bytes   share", "");
    for part in &decomposition.parts {
        let (name, meaning) = resident::label(part.class, Heaps::of(profile, &decomposition));
        let columns = columns(part.bytes, total);
        page.row(&columns, name);
        page.aside(columns.len(), meaning);
    }
    remainder(&decomposition, page);
    for remark in resident::remarks(&decomposition).into_iter().chain(resident::of_all(profile)) {
        page.paragraph(&remark, "  ");
    }
}

/// What no class explains; there is always a line for it, even if it says that there is nothing.
fn remainder(decomposition: &Decomposition, page: &mut Page) {
    let remainder = decomposition.remainder();
    let sign = if remainder < 0 { "-" } else { "" };
    let size = format!("{sign}{}", Size(remainder.unsigned_abs()));
    let share = Share(remainder.unsigned_abs(), decomposition.resident).to_string();
    let name = format!("not explained: {}", resident::REMAINDER);
    page.row(&format!("  {size:>9} {share:>7}  "), &name);
}

fn columns(bytes: u64, total: u64) -> String {
    let share = Share(bytes, total).to_string();
    format!("  {:>9} {share:>7}  ", Size(bytes))
}

/// What each line keeps in memory, beside what it holds and what it has released.
pub(super) fn lines(profile: &Profile, names: &[String], page: &mut Page) {
    if profile.total(View::Resident).bytes == 0 {
        return;
    }
    let lines = profile.holding_lines();
    page.blank();
    page.heading("By line: what it holds, and what is resident that it touched first");
    page.row("       live  resident    shared  released", "");
    rows(&lines, names, page);
    page.more(lines.len(), TOP, "lines");
    let spent = profile.spent_lines(&lines[..lines.len().min(TOP)]);
    if !spent.is_empty() {
        page.paragraph("Released, by lines that hold next to nothing any more:", "  ");
        rows(&spent[..spent.len().min(SPENT)], names, page);
        page.more(spent.len(), SPENT, "such lines");
    }
    for remark in resident::doubts(profile) {
        page.paragraph(&remark, "  ");
    }
}

fn rows(lines: &[Line], names: &[String], page: &mut Page) {
    for line in lines.iter().take(TOP) {
        let sizes = resident::columns(&line.amounts).map(Size);
        let [live, resident, shared, released] = sizes;
        let numbers = format!("  {live:>9} {resident:>9} {shared:>9} {released:>9}  ");
        page.row(&numbers, name(names, line.frame));
    }
}

/// How much of what a line holds is not in memory, if that is much.
pub(super) fn absent(line: &Line) -> String {
    let (absent, live) = (line.amounts.absent.bytes, line.amounts.live.bytes);
    if absent <= live / 10 {
        return String::new();
    }
    format!("{} of it is not in memory", Size(absent))
}

/// Shared memory by segment.
pub(super) fn segments(profile: &Profile, page: &mut Page) {
    if profile.segments.is_empty() {
        return;
    }
    page.blank();
    page.heading("Shared memory, by segment");
    for segment in profile.segments.iter().take(TOP) {
        let (name, users) = resident::segment(profile, segment);
        let columns = format!("  {:>9}  ", Size(segment.resident));
        page.row(&columns, &name);
        page.aside(columns.len(), &users);
    }
    page.more(profile.segments.len(), TOP, "segments");
    if let Some(sums) = resident::segments(profile) {
        page.paragraph(&sums, "  ");
    }
}
