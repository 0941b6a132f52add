//! A snapshot as people or programs read it: on the terminal, as JSON, as a page.

mod html;
mod json;
mod memory;
mod objects;
mod remarks;
mod section;
mod terminal;
mod threads;

use std::{io::Write, path::Path};

use anyhow::{Result, bail};

use self::section::Section;
pub use self::terminal::print;
use super::{Format, UnknownFormat};
use crate::snapshot::Snapshot;

const FORMATS: [Format; 2] = [Format::Html, Format::Json];

/// An error if a snapshot cannot be written as a file of that name.
pub fn check(path: &Path) -> Result<(), UnknownFormat> {
    let format = Format::of(path).ok().filter(|format| FORMATS.contains(format));
    format.map(drop).ok_or_else(|| UnknownFormat { path: path.into(), known: &FORMATS })
}

/// Its tables, in the order in which they are shown.
fn sections(snapshot: &Snapshot) -> Vec<Section> {
    let mut sections = vec![memory::uses(snapshot), memory::arenas(snapshot)];
    sections.extend(objects::sections(snapshot));
    sections.push(memory::shared(snapshot));
    sections
}

/// Writes a snapshot.
pub fn write(snapshot: &Snapshot, format: Format, to: impl Write) -> Result<()> {
    match format {
        Format::Html => html::write(snapshot, to),
        Format::Json => json::write(snapshot, to),
        _ => bail!("a snapshot has no form of {}", format.extension()),
    }
}
