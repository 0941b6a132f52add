//! Costs that grow with a size, both on logarithmic scales, beside a line that grows as the size.

use anyhow::{Context as _, Result};
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::combinators::IntoLogRange as _,
    element::{Circle, PathElement},
    series::{DashedLineSeries, LineSeries},
    style::{BLACK, Color as _, Palette as _, Palette99, ShapeStyle, WHITE},
};

use super::{Area, FONT, TEXT_HEIGHT};
use crate::bench::figures::Line;

/// Width of a line in the legend.
const SAMPLE: i32 = 16;

/// Draws the lines; `size` is what the horizontal axis counts.
pub fn draw(size: &str, lines: &[Line], area: &Area<'_>) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let least = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let most = points().map(|point| point.0).fold(least, f64::max);
    let lowest = points().map(|point| point.1).fold(0.5, f64::min);
    let highest = points().map(|point| point.1).fold(2.0, f64::max) * 1.5;
    let mut chart = ChartBuilder::on(area)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d((least..most * 1.1).log_scale(), (lowest..highest).log_scale())
        .context("lay out a panel")?;
    chart
        .configure_mesh()
        .x_desc(size)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .label_style((FONT, TEXT_HEIGHT))
        .light_line_style(WHITE)
        .draw()
        .context("draw the axes")?;
    let sample = |style: ShapeStyle| {
        move |(x, y)| PathElement::new(vec![(x, y), (x + SAMPLE, y)], style)
    };
    let end = (most / least).min(highest);
    chart
        .draw_series(DashedLineSeries::new([(least, 1.0), (least * end, end)], 4, 4, BLACK.into()))
        .context("draw the line that grows as the size")?
        .label("as the number")
        .legend(sample(BLACK.into()));
    for (line, number) in lines.iter().zip(0..) {
        let style = Palette99::pick(number).stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), style))
            .context("draw a line")?
            .label(&line.name)
            .legend(sample(style));
        let dots = line.points.iter().map(|point| Circle::new(*point, 3, style.filled()));
        chart.draw_series(dots).context("draw the points")?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.85))
        .label_font((FONT, TEXT_HEIGHT))
        .draw()
        .context("draw the legend")
}
