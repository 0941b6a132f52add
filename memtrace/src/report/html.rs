//! One page that needs nothing else: what the summary says, every line that matters, and the
//! flame graph.

mod heap;

use std::{cmp::Reverse, io::Write};

use anyhow::{Context as _, Result};

use super::{
    chart, flamegraph, remarks,
    resident::{self, Heaps},
    summary::processes::about,
    text::escape,
    units::{Count, Elapsed, Share, Size},
};
use crate::profile::{Amounts, Decomposition, Line, Process, Profile, View, printable};

/// Rows of a table: what lies below is in the flame graph and in JSON.
const TOP: usize = 25;
const STYLE: &str = "
body { font: 14px sans-serif; margin: 1em auto; max-width: 1400px; padding: 0 1em; }
body > svg { display: block; width: 100%; }
table { border-collapse: collapse; }
th, td { padding: 2px 14px 2px 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #888; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.name { font-family: monospace; overflow-wrap: anywhere; }
.aside { color: #555; }
.chart { overflow-x: auto; }
.chart text { font: 13px sans-serif; }
";

/// Writes the page; the flame graph and the order of the lines are those of `view`.
pub(super) fn write(profile: &Profile, view: View, mut to: impl Write) -> Result<()> {
    let page = page(profile, view)?;
    to.write_all(page.as_bytes()).and_then(|()| to.flush()).context("write the page")
}

fn page(profile: &Profile, view: View) -> Result<String> {
    let title = escape(&remarks::title(profile, view));
    let circumstances = escape(&remarks::circumstances(profile, view));
    let svg = flamegraph::draw(profile, view, &[])?;
    // What comes before is for files of their own.
    let svg = svg.find("<svg").map_or("", |start| &svg[start..]);
    let chart = chart::draw(profile)?;
    let (lines, processes) = (lines(profile, view), processes(profile));
    let (resident, heaps) = (resident_tables(profile), heap::heaps(profile));
    let caveats = caveats(profile, view);
    let head = head(&title, "");
    Ok(format!(
        "{head}<h1>{title}</h1>\n<p>{circumstances} · <a href=\"#caveats\">caveats</a></p>\n\
         {lines}<h2>Flame graph</h2>\n{svg}<h2>Memory over time</h2>\n\
         <div class=\"chart\">{chart}</div>\n{resident}\
         {heaps}{processes}{caveats}</body></html>\n"
    ))
}

/// How a page begins, up to its body; `title` is markup. It can load nothing from anywhere.
pub(super) fn head(title: &str, style: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title}</title><style>{STYLE}{style}</style></head><body>\n"
    )
}

fn lines(profile: &Profile, view: View) -> String {
    let columns = columns(&["pins", "objects", "share", "processes", "line"]);
    let lines = profile.lines(view);
    let total = profile.total(view).bytes;
    let names = profile.frame_texts();
    let rows = lines.iter().map(|line| line_cells(&names, view, total, line));
    let order = match view {
        View::Live => "most live first",
        View::Peak => "most at the peak first",
        View::Allocated => "most allocated first",
        View::Resident => "most resident first",
        View::Fragmentation => "those that pin most first",
        View::Inherited => "most inherited first",
    };
    let shown = &lines[..lines.len().min(TOP)];
    let spent = if view == View::Allocated { Vec::new() } else { profile.spent_lines(shown) };
    let allocated = profile.total(View::Allocated).bytes;
    let cells = spent.iter().map(|line| line_cells(&names, View::Allocated, allocated, line));
    let title = "Released, by lines that hold next to nothing any more";
    let spent = if spent.is_empty() { String::new() } else { table(title, &columns, cells) };
    table(&format!("Memory by line, {order}"), &columns, rows) + &spent
}

fn line_cells(names: &[String], view: View, total: u64, line: &Line) -> Vec<String> {
    let amount = line.amounts.of(view);
    let mut cells = sizes(line.amounts);
    cells.push(Count(amount.objects).to_string());
    cells.push(Share(amount.bytes, total).to_string());
    cells.push(line.processes.to_string());
    let name = |frame: u32| escape(&names[frame as usize]);
    let line_name = line.frame.map_or_else(|| remarks::NO_FRAME.into(), name);
    let callee = line.callee.map(name);
    let callee = callee.map(|callee| format!("<div class=\"aside\">in {callee}</div>"));
    cells.push(line_name + &callee.unwrap_or_default());
    cells
}

/// What the RSS consists of, and shared memory by segment.
fn resident_tables(profile: &Profile) -> String {
    let decomposition = profile.decomposition().map(|decomposition| {
        let title = format!("RSS {}, by use", Size(decomposition.resident));
        table(
            &title,
            &["bytes", "share", "use"],
            decomposition_rows(profile, &decomposition).into_iter(),
        ) + &paragraphs(resident::remarks(&decomposition))
            + &paragraphs(resident::of_all(profile))
    });
    let segments = profile.segments.iter().map(|segment| {
        let (name, users) = resident::segment(profile, segment);
        let aside = format!("<div class=\"aside\">{}</div>", escape(&users));
        vec![Size(segment.resident).to_string(), escape(&name) + &aside]
    });
    let segments = (!profile.segments.is_empty()).then(|| {
        table("Shared memory, by segment", &["bytes", "segment"], segments)
            + &paragraphs(resident::segments(profile).into_iter().collect())
    });
    decomposition.unwrap_or_default() + &segments.unwrap_or_default()
}

fn decomposition_rows(profile: &Profile, decomposition: &Decomposition) -> Vec<Vec<String>> {
    let heaps = Heaps::of(profile, decomposition);
    let cells = |sign: &str, bytes: u64, (name, meaning): (&str, &str)| {
        let share = Share(bytes, decomposition.resident).to_string();
        let name = format!("{}<div class=\"aside\">{}</div>", escape(name), escape(meaning));
        vec![format!("{sign}{}", Size(bytes)), share, name]
    };
    let parts = decomposition.parts.iter();
    let parts = parts.map(|part| cells("", part.bytes, resident::label(part.class, heaps)));
    let remainder = decomposition.remainder();
    let sign = if remainder < 0 { "-" } else { "" };
    let rest = cells(sign, remainder.unsigned_abs(), ("not explained", resident::REMAINDER));
    parts.chain([rest]).collect()
}

fn paragraphs(texts: Vec<String>) -> String {
    texts.iter().flat_map(|text| ["<p>".into(), escape(text), "</p>\n".into()]).collect()
}

fn processes(profile: &Profile) -> String {
    let mut processes: Vec<&Process> = profile.processes.iter().collect();
    processes.sort_by_key(|process| Reverse(process.amounts.live));
    let columns = columns(&["pinned", "inherited", "RSS", "private", "PSS", "process"]);
    table("Processes, most live first", &columns, processes.into_iter().map(process_cells))
}

fn process_cells(process: &Process) -> Vec<String> {
    let mut cells = sizes(process.amounts);
    cells.push(Size(process.amounts.inherited.bytes).to_string());
    let sharing = process.sharing;
    let known = [
        process.rss_bytes,
        sharing.map(|sharing| sharing.private),
        sharing.map(|sharing| sharing.proportional),
    ];
    cells.extend(known.map(|size| size.map_or_else(String::new, |size| Size(size).to_string())));
    let ended =
        process.ended.map(|time| format!(", ended after {}", Elapsed(process.traced(time))));
    let name = escape(&(process.text() + &ended.unwrap_or_default()));
    let command_line = escape(&printable(&process.command_line));
    let about = escape(&about(process));
    let asides = [about, command_line].map(|text| format!("<div class=\"aside\">{text}</div>"));
    cells.push(name + &asides.concat());
    cells
}

/// The heads of a table whose rows begin with [`sizes`], the last of which has its own name in each.
fn columns(others: &[&'static str]) -> Vec<&'static str> {
    [&["live", "at peak", "allocated", "released", "resident", "shared"], others].concat()
}

fn sizes(amounts: Amounts) -> Vec<String> {
    let [live, resident, shared, released] = resident::columns(&amounts);
    let (peak, allocated) = (amounts.peak.bytes, amounts.allocated.bytes);
    let pinned = amounts.fragmentation.bytes;
    let sizes = [live, peak, allocated, released, resident, shared, pinned];
    sizes.map(|bytes| Size(bytes).to_string()).into()
}

fn caveats(profile: &Profile, view: View) -> String {
    let caveats = remarks::caveats(profile, view).into_iter().chain(remarks::cost(profile));
    let items = caveats.flat_map(|caveat| ["<li>".into(), escape(&caveat), "</li>\n".into()]);
    let items: String = items.collect();
    format!("<h2 id=\"caveats\">Caveats</h2>\n<ul>\n{items}</ul>\n")
}

/// The first rows of a table; cells are markup, all numbers but the last.
pub(super) fn table(
    title: &str,
    columns: &[&str],
    rows: impl ExactSizeIterator<Item = Vec<String>>,
) -> String {
    let left = rows.len().saturating_sub(TOP);
    let heads = row("th", columns.iter().map(ToString::to_string).collect());
    let rows: String = rows.take(TOP).map(|cells| row("td", cells)).collect();
    let more =
        if left > 0 { format!("<p>and {} more</p>\n", Count(left as u64)) } else { String::new() };
    format!("<h2>{title}</h2>\n<table>\n{heads}{rows}</table>\n{more}")
}

fn row(tag: &str, cells: Vec<String>) -> String {
    let last = cells.len().saturating_sub(1);
    let class = |at| if at < last { "number" } else { "name" };
    let cell = |(at, text)| format!("<{tag} class=\"{}\">{text}</{tag}>", class(at));
    let cells: Vec<String> = cells.into_iter().enumerate().map(cell).collect();
    format!("<tr>{}</tr>\n", cells.concat())
}
