//! A profile as a file that people or programs read: one module per format, each a function
//! from profile to bytes.

mod advice;
mod chart;
mod flamegraph;
mod folded;
pub mod heap;
mod html;
pub mod incident;
mod json;
mod pprof;
mod remarks;
mod resident;
pub mod shedding;
pub mod snapshot;
pub mod summary;
mod text;
mod tree;
pub mod units;

use std::{
    error::Error,
    fmt,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    profile::{Profile, View},
    recording,
};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A flame graph for a browser.
    Svg,
    /// A page with tables and the flame graph.
    Html,
    /// Collapsed stacks, for other flame graph tools.
    Folded,
    /// Everything, for programs.
    Json,
    /// For `go tool pprof` and what reads its format.
    Pprof,
    /// The recording, from which memtrace makes all others.
    Recording,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] =
        [Self::Svg, Self::Html, Self::Folded, Self::Json, Self::Pprof, Self::Recording];

    /// How names of its files end.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Svg => ".svg",
            Self::Html => ".html",
            Self::Folded => ".folded",
            Self::Json => ".json",
            Self::Pprof => ".pb.gz",
            Self::Recording => ".memtrace",
        }
    }

    /// The format of the file at `path`, by its extension.
    pub fn of(path: &Path) -> Result<Self, UnknownFormat> {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes().to_ascii_lowercase();
        let ends = |format: &Self| name.ends_with(format.extension().as_bytes());
        let unknown = || UnknownFormat { path: path.into(), known: &Self::ALL };
        Self::ALL.into_iter().find(ends).ok_or_else(unknown)
    }
}

/// The name of a file ends in no known extension.
#[derive(Debug)]
pub struct UnknownFormat {
    path: PathBuf,
    known: &'static [Format],
}

impl fmt::Display for UnknownFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<_> = self.known.iter().map(|format| format.extension()).collect();
        let (path, known) = (self.path.display(), known.join(", "));
        write!(out, "no format for {path}: the name must end in one of {known}")
    }
}

impl Error for UnknownFormat {}

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Memory by stack.
    Memory(View),
    /// Memory over time.
    Timeline,
}

impl Default for Content {
    fn default() -> Self {
        Self::Memory(View::default())
    }
}

impl From<View> for Content {
    fn from(view: View) -> Self {
        Self::Memory(view)
    }
}

impl Content {
    /// Whether files of the format can hold it.
    pub fn check(self, format: Format) -> Result<(), NotInFormat> {
        let stacks_only = matches!(format, Format::Folded | Format::Pprof);
        if self == Self::Timeline && stacks_only { Err(NotInFormat(format)) } else { Ok(()) }
    }

    /// The view in which stacks are shown beside it.
    fn view(self) -> View {
        match self {
            Self::Memory(view) => view,
            Self::Timeline => View::default(),
        }
    }
}

/// Files of this format hold stacks and nothing else.
#[derive(Debug)]
pub struct NotInFormat(Format);

impl fmt::Display for NotInFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a timeline cannot be written as {}", self.0.extension())
    }
}

impl Error for NotInFormat {}

/// Writes a report of `profile` to `to`.
///
/// JSON, pprof and the recording hold every view, JSON and the recording also the timeline; there
/// `content` decides what comes first.
pub fn write(
    profile: &Profile,
    content: impl Into<Content>,
    format: Format,
    to: impl Write,
) -> Result<()> {
    let content = content.into();
    content.check(format)?;
    let view = content.view();
    match format {
        Format::Svg if content == Content::Timeline => chart::write(profile, to),
        Format::Svg => flamegraph::write(profile, view, to),
        Format::Html => html::write(profile, view, to),
        Format::Folded => folded::write(profile, view, to),
        Format::Json => json::write(profile, view, to),
        Format::Pprof => pprof::write(profile, view, to),
        Format::Recording => recording::write(profile, to),
    }
}

#[cfg(test)]
mod golden;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides() {
        for format in Format::ALL {
            let path = format!("/tmp/out.1{}", format.extension());
            assert_eq!(Format::of(Path::new(&path)).unwrap(), format);
        }
        assert_eq!(Format::of(Path::new("OUT.SVG")).unwrap(), Format::Svg);
    }

    #[test]
    fn an_unknown_extension_is_answered_with_the_known_ones() {
        for path in ["out", "out.png", "", "/", "svg"] {
            let error = Format::of(Path::new(path)).unwrap_err().to_string();
            assert!(error.ends_with(".svg, .html, .folded, .json, .pb.gz, .memtrace"), "{error}");
        }
    }
}
