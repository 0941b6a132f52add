//! How costs grow: with processes, live allocations, distinct stacks and mapped files.

mod browser;
mod files;
mod growth;
mod live;
mod processes;
mod reports;
mod stacks;

use anyhow::Result;

use self::growth::Growth;
use crate::{Arguments, figures::Figure, say};

/// Measures, and prints the tables; takes about five minutes.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut panels = Vec::new();
    let mut done = |growth: &Growth| {
        growth.print();
        panels.push(growth.panel());
    };
    say("processes");
    done(&processes::measure(arguments)?);
    say("live allocations");
    done(&live::measure(arguments)?);
    say("distinct stacks");
    let reports = tempfile::tempdir_in(&arguments.folder)?;
    done(&stacks::measure(arguments, reports.path())?);
    say("mapped files");
    done(&files::measure(arguments)?);
    say("reports in a browser");
    browser::measure(reports.path())?;
    arguments.leave(&Figure {
        name: "scale".to_owned(),
        title: "How costs grow, in units of the smallest size's".to_owned(),
        panels,
    })
}
