//! A snapshot for the terminal.

use std::io::Write;

use anyhow::{Context as _, Result};

use super::{
    super::{
        summary::{Screen, page::Page},
        units::Count,
    },
    remarks,
    section::Section,
    sections,
    threads::{Group, groups},
};
use crate::{
    profile::{printable, printable_sentence},
    snapshot::{Part, Snapshot},
};

/// Frames of a stack that are shown.
const FRAMES: usize = 24;
/// Threads, frames of each, and caveats that are shown in brief.
const BRIEF_GROUPS: usize = 4;
const BRIEF_FRAMES: usize = 4;
const BRIEF_CAVEATS: usize = 2;
/// Rows of a table.
const ROWS: usize = 12;
const BRIEF_ROWS: usize = 3;

/// Prints a snapshot; in `brief`, what fits a screen.
pub fn print(snapshot: &Snapshot, brief: bool, screen: Screen, mut to: impl Write) -> Result<()> {
    let mut page = Page::new(screen);
    page.heading(&remarks::subject(snapshot));
    page.paragraph(remarks::first(snapshot), "  ");
    page.paragraph(&remarks::circumstances(snapshot), "  ");
    threads(snapshot, brief, &mut page);
    for section in sections(snapshot) {
        table(&section, if brief { BRIEF_ROWS } else { ROWS }, &mut page);
    }
    page.blank();
    if brief {
        notes(snapshot, BRIEF_CAVEATS, &mut page);
        page.more(snapshot.notes.len(), BRIEF_CAVEATS, "caveats");
    } else {
        page.heading("Cost and caveats");
        page.paragraph(&remarks::cost(&snapshot.cost), "  - ");
        notes(snapshot, snapshot.notes.len(), &mut page);
    }
    to.write_all(page.text().as_bytes()).and_then(|()| to.flush()).context("print the snapshot")
}

fn threads(snapshot: &Snapshot, brief: bool, page: &mut Page) {
    page.blank();
    match &snapshot.threads {
        Part::Missing(reason) => {
            page.heading("Threads");
            page.paragraph(&printable(reason), "  ");
        }
        Part::Read(threads) => {
            page.heading(&format!("Threads: {}", Count(threads.len() as u64)));
            let groups = groups(threads);
            let shown = if brief { BRIEF_GROUPS } else { groups.len() };
            for group in groups.iter().take(shown) {
                thread(group, brief, page);
            }
            page.more(groups.len(), shown, "groups of threads");
        }
    }
}

fn thread(group: &Group<'_>, brief: bool, page: &mut Page) {
    page.paragraph(&format!("{}: {}", group.name(), group.doing()), "  ");
    let all = group.frames();
    let frames =
        if brief { group.main_frames(BRIEF_FRAMES) } else { all[..all.len().min(FRAMES)].to_vec() };
    for frame in &frames {
        page.row("      ", frame);
    }
    if all.len() > frames.len() {
        page.aside(6, &format!("and {} more frames", all.len() - frames.len()));
    }
}

/// A table; numbers are set flush right, each column as wide as it needs.
fn table(section: &Section, shown: usize, page: &mut Page) {
    page.blank();
    page.heading(&section.title);
    let rows = section.rows.iter().take(shown);
    let numbers = section.columns.len().saturating_sub(1);
    let width = |column: usize| {
        let cells = rows.clone().map(|row| row.cells[column].chars().count());
        cells.max().unwrap_or(0).max(section.columns[column].len())
    };
    let widths: Vec<usize> = (0..numbers).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells.zip(&widths).map(|(cell, width)| format!("  {cell:>width$}"));
        cells.chain(["  ".to_owned()]).collect::<String>()
    };
    if !section.rows.is_empty() {
        page.row(&line(&mut section.columns.iter().copied()), "");
    }
    for row in rows.clone() {
        let columns = line(&mut row.cells.iter().map(String::as_str));
        page.row(&columns, &row.name);
        page.aside(columns.chars().count(), &row.aside);
    }
    page.more(section.rows.len(), shown, "rows");
    for remark in &section.remarks {
        page.paragraph(remark, "  ");
    }
}

fn notes(snapshot: &Snapshot, shown: usize, page: &mut Page) {
    for note in snapshot.notes.iter().take(shown) {
        page.paragraph(&printable_sentence(note), "  - ");
    }
}
