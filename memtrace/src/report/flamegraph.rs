//! The flame graph: an SVG that a browser zooms and searches, and that reads well without
//! scripts. The only user of inferno.

mod annotate;
mod colour;

use std::io::Write;

use anyhow::{Context as _, Result};
use inferno::flamegraph::{
    Direction, Options, TextTruncateDirection,
    color::{BackgroundColor, Color, PaletteMap},
    from_lines,
};

use super::{
    remarks, resident,
    tree::{Pruned, Tree},
    units::{Count, Size},
};
use crate::profile::{Profile, View};

/// Frames that a browser still draws and searches without delay.
const MAX_FRAMES: usize = 10_000;
/// Bytes of folded stacks that inferno may be given: it holds them all.
const MAX_LINES_LENGTH: usize = 256 << 20;

/// Writes the flame graph of `view`.
pub(super) fn write(profile: &Profile, view: View, mut to: impl Write) -> Result<()> {
    let resident = (view == View::Live).then(|| resident::sentence(profile)).flatten();
    let mut notes: Vec<_> = resident.into_iter().collect();
    notes.extend(remarks::caveats(profile, view));
    notes.extend(remarks::cost(profile));
    let svg = draw(profile, view, &notes)?;
    to.write_all(svg.as_bytes()).and_then(|()| to.flush()).context("write the flame graph")
}

/// The flame graph of `view`, with `notes` below.
pub(super) fn draw(profile: &Profile, view: View, notes: &[String]) -> Result<String> {
    let mut tree = Tree::new(profile, view);
    let pruning = pruning(shrink(&mut tree), view);
    let notes: Vec<String> = pruning.into_iter().chain(notes.iter().cloned()).collect();
    let title = remarks::title(profile, view);
    let circumstances = remarks::circumstances(profile, view);
    if tree.total() == 0 {
        return Ok(annotate::blank(&[title, circumstances], &notes));
    }
    let svg = render(&tree, title, circumstances).context("draw the flame graph")?;
    Ok(annotate::annotate(&svg, &notes))
}

/// Removes the smallest frames, until the rest can be drawn.
fn shrink(tree: &mut Tree) -> Pruned {
    let mut limit = MAX_FRAMES;
    let mut pruned = tree.prune(limit);
    while tree.lines_length() > MAX_LINES_LENGTH {
        limit /= 2;
        let more = tree.prune(limit);
        pruned = Pruned { frames: pruned.frames + more.frames, bytes: more.bytes };
    }
    pruned
}

fn pruning(pruned: Pruned, view: View) -> Option<String> {
    (pruned.frames > 0).then(|| {
        let (frames, size) = (Count(pruned.frames as u64), Size(pruned.bytes));
        let view = view.name();
        format!(
            "{frames} frames of at most {size} are not drawn; \
             a .folded or .json report of --view {view} has them all."
        )
    })
}

fn render(tree: &Tree, title: String, subtitle: String) -> Result<String> {
    let mut palette = palette(tree);
    let mut options = Options::default();
    options.title = title;
    options.subtitle = Some(subtitle);
    // As wide as the widest of the usual fonts, so that cut text fits without scripts.
    options.font_width = 0.61;
    options.count_name = annotate::COUNT_NAME.into();
    options.name_type = "Frame:".into();
    options.direction = Direction::Inverted;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.palette_map = Some(&mut palette);
    options.bgcolors = Some(BackgroundColor::Flat(Color { r: 250, g: 250, b: 250 }));
    options.min_width = 0.0;
    // Takes the lines as they are, last one first: plain sorting would separate common frames.
    options.flame_chart = true;
    let lines = tree.lines();
    let mut svg = Vec::new();
    from_lines(&mut options, lines.iter().rev().map(String::as_str), &mut svg)?;
    String::from_utf8(svg).context("the drawing is not text")
}

fn palette(tree: &Tree) -> PaletteMap {
    let mut palette = PaletteMap::default();
    let colour = |[r, g, b]: [u8; 3]| Color { r, g, b };
    // inferno's name for the frame below all others.
    palette.insert("", colour(colour::ROOT));
    for label in tree.labels() {
        palette.insert(&label.text, colour(colour::of(label)));
    }
    palette
}
