//! A snapshot for the terminal.

use std::io::Write;

use anyhow::{Context as _, Result};

use super::{
    super::{
        summary::{Screen, page::Page},
        units::Count,
    },
    remarks,
    threads::{Group, groups},
};
use crate::{
    profile::printable,
    snapshot::{Part, Snapshot},
};

/// Frames of a stack that are shown.
const FRAMES: usize = 24;
/// Threads, and frames of each, that are shown in brief.
const BRIEF_GROUPS: usize = 3;
const BRIEF_FRAMES: usize = 4;

/// Prints a snapshot; in `brief`, what fits a screen.
pub fn print(snapshot: &Snapshot, brief: bool, screen: Screen, mut to: impl Write) -> Result<()> {
    let mut page = Page::new(screen);
    page.heading(&remarks::subject(snapshot));
    page.paragraph(&remarks::circumstances(snapshot), "  ");
    threads(snapshot, brief, &mut page);
    page.blank();
    if !brief {
        caveats(snapshot, &mut page);
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
                thread(group, if brief { BRIEF_FRAMES } else { FRAMES }, page);
            }
            page.more(groups.len(), shown, "groups of threads");
        }
    }
}

fn thread(group: &Group<'_>, shown: usize, page: &mut Page) {
    page.paragraph(&format!("{}: {}", group.name(), group.doing()), "  ");
    let frames = group.frames();
    for frame in frames.iter().take(shown) {
        page.row("      ", frame);
    }
    if frames.len() > shown {
        page.aside(6, &format!("and {} more frames", frames.len() - shown));
    }
}

fn caveats(snapshot: &Snapshot, page: &mut Page) {
    page.heading("Cost and caveats");
    page.paragraph(&remarks::cost(&snapshot.cost), "  - ");
    for note in &snapshot.notes {
        page.paragraph(&printable(note), "  - ");
    }
}
