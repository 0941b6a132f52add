//! The timeline as a chart: resident memory by kind, live memory, and the moments that matter.
//! The only user of plotters.

mod axis;

use std::{io::Write, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use plotters::{
    coord::types::RangedCoordf64,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use self::axis::Axis;
use super::{
    remarks,
    units::{Elapsed, Size},
};
use crate::profile::{ByKind, Point, Profile};

const SIZE: (u32, u32) = (1200, 560);
const BACKGROUND: RGBColor = RGBColor(250, 250, 250);
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(220, 220, 220);
const LIVE: RGBColor = RGBColor(170, 30, 60);
const FONT: &str = "sans-serif";

/// A kind with its colour, its size with everything below it, and its size. Blue and orange differ
/// for colour-blind eyes too.
type AreaOfKind = (&'static str, RGBColor, fn(&ByKind) -> u64, fn(&ByKind) -> u64);

/// From above.
const AREAS: [AreaOfKind; 3] = [
    ("files", RGBColor(190, 220, 190), ByKind::sum, |kinds| kinds.file),
    (
        "shared memory",
        RGBColor(248, 178, 100),
        |kinds| kinds.anonymous.saturating_add(kinds.shared),
        |kinds| kinds.shared,
    ),
    (
        "anonymous: heap, stacks",
        RGBColor(140, 185, 235),
        |kinds| kinds.anonymous,
        |kinds| kinds.anonymous,
    ),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// A moment that deserves a line of its own.
struct Moment {
    at: Duration,
    text: String,
}

/// Writes the chart.
pub(super) fn write(profile: &Profile, mut to: impl Write) -> Result<()> {
    let svg = draw(profile)?;
    to.write_all(svg.as_bytes()).and_then(|()| to.flush()).context("write the chart")
}

/// The chart, as an SVG element.
pub(super) fn draw(profile: &Profile) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        fill(&area, profile).map_err(|error| anyhow!("draw the timeline: {error:#}"))?;
    }
    Ok(svg)
}

fn fill(area: &Area<'_>, profile: &Profile) -> Result<()> {
    area.fill(&BACKGROUND)?;
    let each = if profile.processes.len() > 1 { ", what processes share in each" } else { "" };
    let title = format!("{}: memory over time{each}", remarks::subject(profile));
    area.draw(&Text::new(title, (16, 14), text(20)))?;
    let circumstances = remarks::circumstances(profile, crate::profile::View::Live);
    area.draw(&Text::new(circumstances, (16, 42), text(13)))?;
    let points = &*profile.timeline.points;
    if points.len() < 2 {
        let nothing = "Nothing to draw: memory was looked at less than twice.";
        area.draw(&Text::new(nothing, (16, 80), text(14)))?;
        return Ok(());
    }
    let memory = Axis::bytes(points.iter().map(highest).max().unwrap_or(0));
    let at = |point: Option<&Point>| point.map_or(Duration::ZERO, |point| point.at);
    let time = Axis::time(at(points.first()), at(points.last()));
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .margin_top(90)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(time.start..time.end, 0.0..memory.end)?;
    mesh(&mut chart, &time, &memory)?;
    series(&mut chart, points, &time, &memory)?;
    let moments = moments(profile).into_iter();
    let shown = moments.filter(|moment| time.of_time(moment.at) >= time.start);
    for (row, moment) in shown.enumerate() {
        mark(&mut chart, &moment, row, (&time, &memory))?;
    }
    legend(area, points)
}

fn highest(point: &Point) -> u64 {
    point.resident.sum().max(point.live)
}

fn text(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

fn mesh(chart: &mut Chart<'_, '_>, time: &Axis, memory: &Axis) -> Result<()> {
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(FAINT)
        .light_line_style(TRANSPARENT)
        .label_style(text(13))
        .axis_desc_style(text(14))
        .x_desc(format!("since tracing began, {}", time.unit))
        .y_desc(format!("memory, {}", memory.unit))
        .x_labels(12)
        .y_labels(8)
        .x_label_formatter(&|value| time.label(*value))
        .y_label_formatter(&|value| memory.label(*value))
        .draw()?;
    Ok(())
}

fn series(chart: &mut Chart<'_, '_>, points: &[Point], time: &Axis, memory: &Axis) -> Result<()> {
    for (_, colour, sum, _) in AREAS {
        let line = points
            .iter()
            .map(|point| (time.of_time(point.at), memory.of_bytes(sum(&point.resident))));
        chart.draw_series(AreaSeries::new(line, 0.0, colour.filled()))?;
    }
    let line = points.iter().map(|point| (time.of_time(point.at), memory.of_bytes(point.live)));
    chart.draw_series(LineSeries::new(line, LIVE.stroke_width(2)))?;
    Ok(())
}

/// When most was live, and when probes were taken off.
fn moments(profile: &Profile) -> Vec<Moment> {
    /// With more, none could be read.
    const MOST: usize = 4;
    let name = |process: &crate::profile::Process| match &*profile.processes {
        [_] => String::new(),
        _ => format!(", {}", process.text()),
    };
    let peaks = profile.processes.iter().filter_map(|process| {
        let (at, live) = (process.peak_at?, Size(process.amounts.peak.bytes));
        Some(Moment { at, text: format!("most live: {live} at {}{}", Elapsed(at), name(process)) })
    });
    let shed = profile.processes.iter().filter_map(|process| {
        let at = process.shed?.at;
        let text = format!("probes off at {}: live is as of then{}", Elapsed(at), name(process));
        Some(Moment { at, text })
    });
    shed.chain(peaks).take(MOST).collect()
}

/// A line at the moment, and its text beside it, where there is room.
fn mark(
    chart: &mut Chart<'_, '_>,
    moment: &Moment,
    row: usize,
    (time, memory): (&Axis, &Axis),
) -> Result<()> {
    let x = time.of_time(moment.at).min(time.end);
    let line = PathElement::new([(x, 0.0), (x, memory.end)], INK.stroke_width(1));
    chart.draw_series([line])?;
    let (anchor, side) = if x > f64::midpoint(time.start, time.end) {
        (HPos::Right, -1.0)
    } else {
        (HPos::Left, 1.0)
    };
    let style = text(13).pos(Pos::new(anchor, VPos::Top));
    let gap = (time.end - time.start) / 200.0;
    let height = memory.end * (0.99 - 0.045 * f64::from(row as u32));
    chart.draw_series([Text::new(moment.text.clone(), (x + side * gap, height), style)])?;
    Ok(())
}

/// What the colours mean, in a row above the chart; kinds that there never was any of are left out.
fn legend(area: &Area<'_>, points: &[Point]) -> Result<()> {
    const TOP: i32 = 68;
    let swatch = |x, colour: &RGBColor, height: i32| {
        Rectangle::new([(x, TOP + 6 - height), (x + 14, TOP + 6 + height)], colour.filled())
    };
    let mut x = 92;
    for (name, colour, own) in AREAS.map(|(name, colour, _, own)| (name, colour, own)).iter().rev()
    {
        if points.iter().all(|point| own(&point.resident) == 0) {
            continue;
        }
        area.draw(&swatch(x, colour, 6))?;
        area.draw(&Text::new(*name, (x + 20, TOP), text(13)))?;
        x += 40 + 8 * i32::try_from(name.len()).unwrap_or_default();
    }
    area.draw(&swatch(x, &LIVE, 1))?;
    area.draw(&Text::new("live, as traced", (x + 20, TOP), text(13)))?;
    Ok(())
}
