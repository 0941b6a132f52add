//! A snapshot as one page that needs nothing else.

use std::io::Write;

use anyhow::{Context as _, Result};

use super::{
    super::{
        html::{head, table},
        text::escape,
    },
    remarks,
    section::Section,
    sections,
    threads::{Group, cpu_time, groups},
};
use crate::{
    profile::{printable, printable_sentence},
    snapshot::{Part, Snapshot},
};

/// Stacks of more groups of threads are closed at first.
const OPEN_GROUPS: usize = 12;
const STYLE: &str = "
summary { cursor: pointer; padding: 3px 0; }
body > svg { max-width: 1200px; height: auto; margin: 1em 0; }
details ol { margin: 2px 0 10px; padding-left: 3em; font-family: monospace; }
";

/// Writes the page.
pub(super) fn write(snapshot: &Snapshot, mut to: impl Write) -> Result<()> {
    let page = page(snapshot);
    to.write_all(page.as_bytes()).and_then(|()| to.flush()).context("write the page")
}

fn page(snapshot: &Snapshot) -> String {
    let title = escape(&format!("{}: snapshot", remarks::subject(snapshot)));
    let head = head(&title, STYLE);
    let first = match remarks::first(snapshot) {
        "" => String::new(),
        first => format!("<p><b>{first}</b></p>\n"),
    };
    let circumstances = escape(&remarks::circumstances(snapshot));
    let command = escape(&printable(&snapshot.subject.command_line));
    let (threads, caveats) = (threads(snapshot), caveats(snapshot));
    let sections: String = sections(snapshot).iter().map(section).collect();
    format!(
        "{head}<h1>{title}</h1>\n{first}<p>{circumstances} · <a href=\"#caveats\">caveats</a></p>\n\
         <p class=\"aside name\">{command}</p>\n{threads}{sections}{caveats}</body></html>\n"
    )
}

fn threads(snapshot: &Snapshot) -> String {
    let threads = match &snapshot.threads {
        Part::Read(threads) => threads,
        Part::Missing(reason) => {
            let reason = escape(&printable(reason));
            return format!("<h2>Threads</h2>\n<p class=\"aside\">missing: {reason}</p>\n");
        }
    };
    let groups = groups(threads);
    let groups: String = groups.iter().enumerate().map(|(at, group)| thread(at, group)).collect();
    format!("<h2>Threads: {}</h2>\n{groups}", threads.len())
}

fn thread(at: usize, group: &Group<'_>) -> String {
    let open = if at < OPEN_GROUPS { " open" } else { "" };
    let (name, doing) = (escape(&group.name()), escape(&group.doing()));
    let times: Vec<String> = group.threads.iter().map(|thread| cpu_time(thread)).collect();
    let time = if times.len() == 1 { format!(" · CPU time {}", times[0]) } else { String::new() };
    let frames = group.frames();
    let frames = each("li", frames.iter());
    format!(
        "<details{open}><summary><b>{name}</b> {doing}<span class=\"aside\">{time}</span></summary>\
         \n<ol>\n{frames}</ol></details>\n"
    )
}

fn section(section: &Section) -> String {
    let rows = section.rows.iter().map(|row| {
        let indent = row.name.chars().take_while(|character| *character == ' ').count();
        let name = format!("{}{}", "&emsp;".repeat(indent / 2), escape(row.name.trim_start()));
        let aside = match &*row.aside {
            "" => String::new(),
            aside => format!("<div class=\"aside\">{}</div>", escape(aside)),
        };
        let cells = row.cells.iter().map(|cell| escape(cell));
        cells.chain([name + &aside]).collect()
    });
    let title = escape(&section.title);
    let table = match section.rows.len() {
        0 => format!("<h2>{title}</h2>\n"),
        _ => table(&title, section.columns, rows),
    };
    table + &each("p", section.remarks.iter()) + &section.picture
}

fn caveats(snapshot: &Snapshot) -> String {
    let notes = snapshot.notes.iter().map(|note| printable_sentence(note));
    let remarks: Vec<String> = [remarks::cost(&snapshot.cost)].into_iter().chain(notes).collect();
    let items = each("li", remarks.iter());
    format!("<h2 id=\"caveats\">Cost and caveats</h2>\n<ul>\n{items}</ul>\n")
}

/// Each text in an element of its own.
fn each<'text>(tag: &str, texts: impl Iterator<Item = &'text String>) -> String {
    let elements = texts.map(|text| format!("<{tag}>{}</{tag}>\n", escape(text)));
    elements.collect::<Vec<_>>().concat()
}
