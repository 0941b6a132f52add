//! A snapshot as people or programs read it: on the terminal, as JSON, as a page, and a picture of
//! its heap.

mod arenas;
mod html;
mod json;
mod memory;
mod objects;
mod picture;
mod remarks;
mod section;
mod terminal;
mod threads;

use std::{io::Write, path::Path};

use anyhow::{Context as _, Result, bail};

use self::section::Section;
pub use self::{arenas::sentences as of_arenas, terminal::print};
use super::{Format, UnknownFormat};
use crate::snapshot::Snapshot;

const FORMATS: [Format; 3] = [Format::Html, Format::Json, Format::Svg];

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
pub fn write(snapshot: &Snapshot, format: Format, mut to: impl Write) -> Result<()> {
    match format {
        Format::Html => html::write(snapshot, to),
        Format::Json => json::write(snapshot, to),
        Format::Svg => {
            let picture = picture::draw(snapshot);
            to.write_all(picture.as_bytes()).and_then(|()| to.flush()).context("write the picture")
        }
        _ => bail!("a snapshot has no form of {}", format.extension()),
    }
}
