//! Figures as SVG.

mod bars;
mod lines;

use std::path::Path;

use anyhow::{Context as _, Result};
use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea as _},
    style::{BLACK, RGBColor, TextStyle, WHITE},
};

use super::figures::{Contents, Figure};

/// Where panels are drawn.
type Area<'svg> = DrawingArea<SVGBackend<'svg>, Shift>;

const COLUMNS: usize = 2;
const PANEL_WIDTH: u32 = 560;
const TITLE_HEIGHT: u32 = 40;
const FONT: &str = "sans-serif";
const TEXT_HEIGHT: i32 = 13;
/// memtrace's own.
const OWN: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const OTHERS: RGBColor = RGBColor(0xb0, 0xb4, 0xba);

/// Draws a figure into a file.
pub fn draw(figure: &Figure, path: &Path) -> Result<()> {
    let rows = figure.panels.len().div_ceil(COLUMNS);
    let height = figure.panels.iter().map(|panel| height(&panel.contents)).max().unwrap_or(0);
    let size = (PANEL_WIDTH * COLUMNS as u32, TITLE_HEIGHT + height * rows as u32);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE).context("draw the background")?;
    let (title, panels) = area.split_vertically(TITLE_HEIGHT);
    title.draw_text(&figure.title, &text(18), (16, 12)).context("draw the title")?;
    let areas = panels.split_evenly((rows, COLUMNS));
    for (panel, area) in figure.panels.iter().zip(&areas) {
        area.draw_text(&panel.title, &text(15), (16, 6)).context("draw a panel's title")?;
        let area = area.margin(28, 10, 16, 16);
        match &panel.contents {
            Contents::Bars(bars) => bars::draw(bars, &area)?,
            Contents::Lines { size, lines } => lines::draw(size, lines, &area)?,
        }
    }
    area.present().context("write the drawing")
}

fn height(contents: &Contents) -> u32 {
    match contents {
        Contents::Bars(bars) => 60 + 22 * bars.len() as u32,
        Contents::Lines { .. } => 400,
    }
}

/// Text of a height in pixels, placed by its upper left corner.
fn text(height: i32) -> TextStyle<'static> {
    TextStyle::from((FONT, height)).color(&BLACK)
}
