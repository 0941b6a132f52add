//! Costs that grow with a size, both on logarithmic scales, beside a line that grows as the size.

use std::ops::Range;

use anyhow::{Context as _, Result};
use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, ChartContext, SeriesLabelPosition},
    coord::{
        cartesian::Cartesian2d,
        combinators::{IntoLogRange as _, LogCoord},
    },
    element::{Circle, PathElement},
    series::{DashedLineSeries, LineSeries},
    style::{BLACK, Color as _, Palette as _, Palette99, ShapeStyle, WHITE},
};

use super::{Area, FONT, TEXT_HEIGHT};
use crate::bench::figures::Line;

type Chart<'a, 'svg> =
    ChartContext<'a, SVGBackend<'svg>, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

/// Width of a line in the legend.
const SAMPLE: i32 = 16;
/// Room above the points for the legend.
const HEADROOM: f64 = 8.0;

/// Draws the lines; `size` is what the horizontal axis counts.
pub fn draw(size: &str, lines: &[Line], area: &Area<'_>) -> Result<()> {
    let sizes = range(lines, |point| point.0);
    let mut costs = range(lines, |point| point.1);
    costs.end = costs.end.max(2.0) * HEADROOM;
    let mut chart = ChartBuilder::on(area)
        .x_label_area_size(36)
        .y_label_area_size(44)
        .build_cartesian_2d(sizes.clone().log_scale(), costs.clone().log_scale())
        .context("lay out a panel")?;
    chart
        .configure_mesh()
        .x_desc(size)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style((FONT, TEXT_HEIGHT))
        .light_line_style(WHITE)
        .draw()
        .context("draw the axes")?;
    draw_proportional(&mut chart, &sizes, costs.end)?;
    for (line, number) in lines.iter().zip(0..) {
        draw_line(&mut chart, line, Palette99::pick(number).stroke_width(2))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .label_font((FONT, TEXT_HEIGHT))
        .draw()
        .context("draw the legend")
}

/// From the least to the most of all points.
fn range(lines: &[Line], of: impl Fn(&(f64, f64)) -> f64) -> Range<f64> {
    let values = || lines.iter().flat_map(|line| &line.points).map(&of);
    values().fold(f64::INFINITY, f64::min)..values().fold(f64::MIN_POSITIVE, f64::max)
}

/// What costs in proportion to the size would look like.
fn draw_proportional(chart: &mut Chart<'_, '_>, sizes: &Range<f64>, most: f64) -> Result<()> {
    let end = (sizes.end / sizes.start).min(most);
    let ends = [(sizes.start, 1.0), (sizes.start * end, end)];
    let drawn = chart.draw_series(DashedLineSeries::new(ends, 4, 4, BLACK.into()));
    let drawn = drawn.context("draw the line of proportion")?;
    drawn.label("in proportion").legend(sample(BLACK.into()));
    Ok(())
}

fn draw_line(chart: &mut Chart<'_, '_>, line: &Line, style: ShapeStyle) -> Result<()> {
    let drawn = chart.draw_series(LineSeries::new(line.points.iter().copied(), style));
    drawn.context("draw a line")?.label(&line.name).legend(sample(style));
    let dots = line.points.iter().map(|point| Circle::new(*point, 3, style.filled()));
    chart.draw_series(dots).context("draw the points").map(drop)
}

/// A piece of a line, for the legend.
fn sample(style: ShapeStyle) -> impl Fn((i32, i32)) -> PathElement<(i32, i32)> {
    move |(x, y)| PathElement::new(vec![(x, y), (x + SAMPLE, y)], style)
}
