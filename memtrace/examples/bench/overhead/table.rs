//! The ratios as Markdown and as a figure.

use super::{
    WORKLOADS, Workload,
    rounds::{Cell, Measured, Row},
};
use crate::figures::{Bar, Contents, Figure, Panel};

/// Prints the table, and below it what its cells cannot hold.
pub fn print(measured: &Measured) {
    let pairs = measured.rows.iter().flat_map(|row| row.cells.iter().map(|cell| cell.pairs.len()));
    let pairs = pairs.filter(|count| *count > 0);
    let (least, most) = (pairs.clone().min().unwrap_or(0), pairs.max().unwrap_or(0));
    println!(
        "Time of four workloads with a tool, in units of the time without: medians of {least}"
    );
    println!(
        "to {most} comparisons, each of the fastest of up to seven works without, with, and again without"
    );
    println!(
        "the tool. memtrace and bpftrace attach to the running process, the others start another;"
    );
    println!("only the work itself is timed.\n");
    let titles = WORKLOADS.map(|workload| workload.title).join(" | ");
    println!("| | {titles} |\n|---|{}", "---:|".repeat(WORKLOADS.len()));
    let seconds: Vec<String> = measured.alone.iter().map(|alone| format!("{alone:.2} s")).collect();
    println!("| by itself | {} |", seconds.join(" | "));
    for Row { name, cells } in &measured.rows {
        let cells: Vec<String> = cells.iter().map(text).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
    for remark in measured.rows.iter().flat_map(remarks) {
        println!("\n{remark}");
    }
}

fn text(cell: &Cell) -> String {
    match (cell.ratio(), &cell.failure) {
        (Some(ratio), _) => ratio_text(ratio),
        (None, Some(_)) => "–".to_owned(),
        (None, None) => String::new(),
    }
}

fn ratio_text(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.1}") }
}

/// Why cells are empty or incomplete.
fn remarks(row: &Row) -> Vec<String> {
    let mut remarks = Vec::new();
    for (cell, Workload { title, .. }) in row.cells.iter().zip(WORKLOADS) {
        let failed = cell.failure.as_ref().map(|failure| {
            // A reason that holds for every workload is told once.
            let all = row.cells.iter().all(|cell| cell.failure.as_ref() == Some(failure));
            let name = &row.name;
            if all { format!("{name}: {failure}.") } else { format!("{name}, {title}: {failure}.") }
        });
        remarks.extend(failed);
        if cell.losses > 0 {
            let (name, losses, runs) = (&row.name, cell.losses, cell.pairs.len());
            remarks.push(format!("{name}, {title}: {losses} losses were counted in {runs} runs."));
        }
    }
    remarks.dedup();
    remarks
}

/// A panel for each workload.
pub fn figure(measured: &Measured) -> Figure {
    let panel = |number: usize, title: &str| Panel {
        title: format!("{title}: {:.2} s by itself", measured.alone[number]),
        contents: Contents::Bars(measured.rows.iter().filter_map(|row| bar(row, number)).collect()),
    };
    let panels =
        WORKLOADS.iter().enumerate().map(|(number, workload)| panel(number, workload.title));
    Figure {
        name: "overhead".to_owned(),
        title: "Time of a workload with a tool, in units of its time without".to_owned(),
        panels: panels.collect(),
    }
}

fn bar(row: &Row, workload: usize) -> Option<Bar> {
    let value = row.cells[workload].ratio()?;
    let own = row.name.starts_with("memtrace");
    Some(Bar { name: row.name.clone(), value, text: ratio_text(value), own })
}
