//! One page that needs nothing else: what the summary says, every line that matters, and the
//! flame graph.

use std::io::Write;

use anyhow::{Context as _, Result};

use super::{
    flamegraph, remarks,
    text::escape,
    units::{Count, Elapsed, Share, Size},
};
use crate::profile::{Line, Process, Profile, View, printable};

/// Lines in the table: what lies below is in the flame graph and in JSON.
const MAX_LINES: usize = 100;
const STYLE: &str = "
body { font: 14px sans-serif; margin: 1em auto; max-width: 1400px; padding: 0 1em; }
table { border-collapse: collapse; }
th, td { padding: 2px 12px 2px 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #888; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.name { font-family: monospace; overflow-wrap: anywhere; }
.aside { color: #555; }
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
    let body = [caveats(profile, view), processes(profile), lines(profile, view)].concat();
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <title>{title}</title><style>{STYLE}</style></head><body>\n\
         <h1>{title}</h1>\n<p>{circumstances}</p>\n{body}<h2>Flame graph</h2>\n{svg}</body></html>\n"
    ))
}

fn caveats(profile: &Profile, view: View) -> String {
    let caveats = remarks::caveats(profile, view).into_iter().chain(remarks::cost(profile));
    let items: String = caveats.map(|caveat| format!("<li>{}</li>\n", escape(&caveat))).collect();
    if items.is_empty() { items } else { format!("<h2>Caveats</h2>\n<ul>\n{items}</ul>\n") }
}

fn processes(profile: &Profile) -> String {
    let columns = ["live", "peak", "allocated", "RSS", "process", "command line"];
    let mut processes: Vec<&Process> = profile.processes.iter().collect();
    processes.sort_by_key(|process| std::cmp::Reverse(process.amounts.live));
    table("Processes", &columns, 4, processes.into_iter().map(process))
}

fn process(process: &Process) -> Vec<String> {
    let amounts = process.amounts;
    let sizes = [amounts.live, amounts.peak, amounts.allocated];
    let mut cells: Vec<String> = sizes.map(|amount| Size(amount.bytes).to_string()).into();
    cells.push(process.rss_bytes.map_or_else(String::new, |rss| Size(rss).to_string()));
    let ended = process.ended.map(|time| format!(", ended after {}", Elapsed(time)));
    cells.push(process.text() + &ended.unwrap_or_default());
    cells.push(printable(&process.command_line));
    cells
}

fn lines(profile: &Profile, view: View) -> String {
    let columns = ["live", "at peak", "allocated", "objects", "share", "processes", "line", "in"];
    let lines = profile.lines(view);
    let total = profile.total(view).bytes;
    let rows = lines.iter().take(MAX_LINES).map(|line| cells(profile, view, total, line));
    let left = lines.len().saturating_sub(MAX_LINES);
    let more = format!("<p class=\"aside\">and {} more lines</p>\n", Count(left as u64));
    let table = table(&format!("Lines ({})", view.name()), &columns, 6, rows);
    if left > 0 { table + &more } else { table }
}

fn cells(profile: &Profile, view: View, total: u64, line: &Line) -> Vec<String> {
    let amounts = line.amounts;
    let sizes = [amounts.live, amounts.peak, amounts.allocated];
    let mut cells: Vec<String> = sizes.map(|amount| Size(amount.bytes).to_string()).into();
    let amount = amounts.of(view);
    cells.push(Count(amount.objects).to_string());
    cells.push(Share(amount.bytes, total).to_string());
    cells.push(line.processes.to_string());
    let name = |frame: u32| profile.frames[frame as usize].text();
    cells.push(line.frame.map_or_else(|| remarks::NO_FRAME.into(), name));
    cells.push(line.callee.map_or_else(String::new, name));
    cells
}

/// A table whose first `numbers` columns are numbers; nothing if it has no rows.
fn table(
    title: &str,
    columns: &[&str],
    numbers: usize,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let class = |column| if column < numbers { "number" } else { "name" };
    let heads = columns.iter().enumerate();
    let heads = heads.map(|(at, name)| format!("<th class=\"{}\">{name}</th>", class(at)));
    let cell =
        |(at, text): (usize, &String)| format!("<td class=\"{}\">{}</td>", class(at), escape(text));
    let row = |cells: Vec<String>| {
        let cells: String = cells.iter().enumerate().map(cell).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.map(row).collect();
    if rows.is_empty() {
        return rows;
    }
    let heads: String = heads.collect();
    format!("<h2>{title}</h2>\n<table>\n<tr>{heads}</tr>\n{rows}</table>\n")
}
