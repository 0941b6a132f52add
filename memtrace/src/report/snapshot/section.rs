//! A table of a snapshot, whatever it is shown on.

use crate::{profile::printable_sentence, snapshot::Part};

/// A table with a title, and sentences below it.
#[derive(Default)]
pub(super) struct Section {
    /// What it is about.
    pub(super) title: String,
    /// Heads of the columns; that of the last one, which has the names, is seldom needed.
    pub(super) columns: &'static [&'static str],
    /// Its rows.
    pub(super) rows: Vec<Row>,
    /// What else is to be said.
    pub(super) remarks: Vec<String>,
    /// An SVG that goes with it on a page; empty if there is none.
    pub(super) picture: String,
}

/// A row of a table.
pub(super) struct Row {
    /// Numbers, as text.
    pub(super) cells: Vec<String>,
    /// What they are about.
    pub(super) name: String,
    /// More about it; empty if there is nothing.
    pub(super) aside: String,
}

impl Section {
    /// A table without rows.
    pub(super) fn new(title: impl Into<String>, columns: &'static [&'static str]) -> Self {
        Self { title: title.into(), columns, ..Self::default() }
    }

    /// What stands where a part is missing.
    pub(super) fn missing(title: &str, reason: &str) -> Self {
        let remarks = vec![format!("Missing: {}.", printable_sentence(reason))];
        Self { title: title.into(), remarks, ..Self::default() }
    }

    /// The table of a part, or why there is none.
    pub(super) fn of<T>(title: &str, part: &Part<T>, draw: impl FnOnce(&T) -> Self) -> Self {
        match part {
            Part::Read(part) => draw(part),
            Part::Missing(reason) => Self::missing(title, reason),
        }
    }

    /// Adds a row.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N], name: impl Into<String>) {
        self.row_with(cells, name, String::new());
    }

    /// Adds a row with something more to say.
    pub(super) fn row_with<const N: usize>(
        &mut self,
        cells: [String; N],
        name: impl Into<String>,
        aside: String,
    ) {
        self.rows.push(Row { cells: cells.into(), name: name.into(), aside });
    }

    /// Adds a sentence.
    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }
}
