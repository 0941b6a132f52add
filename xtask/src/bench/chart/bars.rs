//! Ratios to 1 as bars beside their names, on a logarithmic scale.

use anyhow::{Context as _, Result};
use plotters::{
    element::{PathElement, Rectangle, Text},
    style::{
        BLACK, Color as _,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::{Area, OTHERS, OWN, TEXT_HEIGHT, text};
use crate::bench::figures::Bar;

const BAR_HEIGHT: i32 = 14;
const ROW_HEIGHT: i32 = 22;
/// Between names and bars.
const GAP: i32 = 8;
/// Part of the width that names take.
const NAMES: f64 = 0.42;
/// Part of the width that the longest bar takes; its number follows it.
const LONGEST: f64 = 0.48;

/// Draws a row for each bar. Bars begin at 1: what makes no difference has none.
pub fn draw(bars: &[Bar], area: &Area<'_>) -> Result<()> {
    let width = f64::from(area.dim_in_pixel().0);
    let most = bars.iter().map(|bar| bar.value).fold(2.0, f64::max);
    let start = (width * NAMES) as i32;
    let length = |value: f64| (width * LONGEST * value.max(1.0).ln() / most.ln()) as i32;
    for (bar, row) in bars.iter().zip(0..) {
        let top = row * ROW_HEIGHT;
        let middle = top + BAR_HEIGHT / 2;
        let end = start + length(bar.value).max(1);
        let colour = if bar.own { OWN } else { OTHERS };
        let corners = [(start, top), (end, top + BAR_HEIGHT)];
        area.draw(&Rectangle::new(corners, colour.filled())).context("draw a bar")?;
        let name = text(TEXT_HEIGHT).pos(Pos::new(HPos::Right, VPos::Center));
        let name = Text::new(bar.name.as_str(), (start - GAP, middle), name);
        area.draw(&name).context("name a bar")?;
        let value = text(TEXT_HEIGHT).pos(Pos::new(HPos::Left, VPos::Center));
        let value = Text::new(bar.text.as_str(), (end + GAP, middle), value);
        area.draw(&value).context("draw a number")?;
    }
    let bottom = i32::try_from(bars.len()).context("count the bars")? * ROW_HEIGHT;
    let axis = PathElement::new(vec![(start, -2), (start, bottom)], BLACK.stroke_width(1));
    area.draw(&axis).context("draw the axis")
}
