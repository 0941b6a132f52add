//! The results for a person: a table of machines and tests, and the failures.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use super::{
    catalog::LeftOut,
    outcome::{Outcome, Test},
};

/// Lines of a failed test that are shown.
const SHOWN_LINES: usize = 15;

/// One machine.
pub struct Column {
    /// What it is called.
    pub name: String,
    /// Where its logs are.
    pub folder: PathBuf,
    /// What it was to run.
    pub tests: Vec<String>,
    /// What it was not.
    pub left_out: Vec<LeftOut>,
    /// What it has said.
    pub outcome: Outcome,
}

impl Column {
    /// Whether every test that was to run has passed, and nothing else went wrong.
    pub fn passed(&self) -> bool {
        self.outcome.faults.is_empty()
            && self.tests.iter().all(|test| self.result(test) == Some(true))
    }

    /// One line.
    pub fn summary(&self) -> String {
        let count = |wanted| self.tests.iter().filter(|test| self.result(test) == wanted).count();
        let (passed, failed, missing) = (count(Some(true)), count(Some(false)), count(None));
        let release = self.outcome.release.as_deref().unwrap_or("never started");
        let left_out = self.left_out.len();
        let (name, faults) = (&self.name, self.outcome.faults.join("; "));
        let faults = if faults.is_empty() { faults } else { format!("; {faults}") };
        format!(
            "{name} ({release}): {passed} passed, {failed} failed, {missing} without a result, \
             {left_out} left out{faults}"
        )
    }

    fn result(&self, test: &str) -> Option<bool> {
        self.outcome.tests.get(test).and_then(|test| test.passed)
    }

    fn failures(&self) -> impl Iterator<Item = (&String, Option<&Test>)> {
        let results = self.tests.iter().map(|test| (test, self.outcome.tests.get(test)));
        results.filter(|(_, result)| result.and_then(|test| test.passed) != Some(true))
    }

    fn cell(&self, test: &str, reasons: &BTreeMap<&str, usize>) -> String {
        if let Some(left_out) = self.left_out.iter().find(|left_out| left_out.test == test) {
            return format!("[{}]", reasons.get(left_out.reason).copied().unwrap_or_default());
        }
        let seconds = self.outcome.tests.get(test).map_or(0.0, |test| test.seconds);
        match self.result(test) {
            Some(true) => format!("ok, {seconds:.0} s"),
            Some(false) => format!("FAILED, {seconds:.0} s"),
            None => "NO RESULT".to_owned(),
        }
    }
}

/// The end of what each failed test has printed, and where the logs are.
pub fn failures(columns: &[Column]) -> String {
    let mut text = String::new();
    for column in columns {
        for fault in &column.outcome.faults {
            let _ =
                writeln!(text, "\n{}: {fault} (logs in {})", column.name, column.folder.display());
        }
        for (test, result) in column.failures() {
            let printed = result.map(|result| result.printed.as_str()).unwrap_or_default();
            let lines: Vec<_> = printed.lines().collect();
            let last = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n    ");
            let folder = column.folder.display();
            let _ = writeln!(text, "\n{}: {test} (logs in {folder})\n    {last}", column.name);
        }
    }
    text
}

/// Markdown: a row for each test, a column for each machine, and then the reasons. No time in an
/// emulated machine means anything but patience.
pub fn render(tests: &[String], columns: &[Column]) -> String {
    let mut reasons = BTreeMap::new();
    for left_out in columns.iter().flat_map(|column| &column.left_out) {
        let next = reasons.len() + 1;
        reasons.entry(left_out.reason).or_insert(next);
    }
    let mut rows = vec![head(columns)];
    rows.extend(tests.iter().map(|test| {
        let cells = columns.iter().map(|column| column.cell(test, &reasons));
        std::iter::once(test.clone()).chain(cells).collect()
    }));
    let mut text = aligned(&rows);
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, number)| *number);
    for (reason, number) in reasons {
        let _ = write!(text, "\n[{number}] {reason}");
    }
    for column in columns {
        let _ = write!(text, "\n{}", column.summary());
    }
    text
}

fn head(columns: &[Column]) -> Vec<String> {
    let names = columns.iter().map(|column| column.name.clone());
    std::iter::once("test".to_owned()).chain(names).collect()
}

fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<_> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text += "|\n";
        if number == 0 {
            text.extend(widths.iter().map(|width| format!("|{}", "-".repeat(width + 2))));
            text += "|\n";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, events: &str, left_out: &[&str]) -> Column {
        let left_out =
            left_out.iter().map(|test| LeftOut { test: (*test).into(), reason: "because" });
        let left_out: Vec<_> = left_out.collect();
        let tests =
            ["a", "b", "c"].into_iter().filter(|test| left_out.iter().all(|it| it.test != *test));
        Column {
            name: name.into(),
            folder: "logs".into(),
            tests: tests.map(str::to_owned).collect(),
            left_out,
            outcome: Outcome::parse(events),
        }
    }

    fn columns() -> [Column; 2] {
        let old = "{\"type\":\"machine\",\"event\":\"started\",\"release\":\"6.1\"}\n\
                   {\"type\":\"test\",\"name\":\"a\",\"event\":\"ok\",\"exec_time\":8.6}\n\
                   {\"type\":\"test\",\"name\":\"c\",\"event\":\"failed\",\"stdout\":\"left: 1\"}\n";
        [column("old", old, &["b"]), column("new", "", &[])]
    }

    #[test]
    fn every_test_has_a_cell_for_every_machine() {
        let tests = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(
            render(&tests, &columns()),
            "| test | old         | new       |\n\
             |------|-------------|-----------|\n\
             | a    | ok, 9 s     | NO RESULT |\n\
             | b    | [1]         | NO RESULT |\n\
             | c    | FAILED, 0 s | NO RESULT |\n\n\
             [1] because\n\
             old (6.1): 1 passed, 1 failed, 0 without a result, 1 left out\n\
             new (never started): 0 passed, 0 failed, 3 without a result, 0 left out"
        );
    }

    #[test]
    fn a_test_without_a_result_is_a_failure() {
        let [old, new] = columns();
        assert!(!old.passed() && !new.passed());
        let shown = failures(&[old, new]);
        assert!(shown.contains("old: c (logs in logs)\n    left: 1"), "{shown}");
        assert_eq!(shown.matches("(logs in logs)").count(), 4, "{shown}");
    }

    #[test]
    fn a_fault_of_the_kernel_is_a_failure_whatever_the_tests_say() {
        let passed = "{\"type\":\"test\",\"name\":\"a\",\"event\":\"ok\"}";
        let mut column = column("one", passed, &["b", "c"]);
        assert!(column.passed());
        column.outcome.faults = vec!["kernel BUG".into()];
        assert!(!column.passed() && column.summary().ends_with("left out; kernel BUG"));
        assert_eq!(failures(&[column]), "\none: kernel BUG (logs in logs)\n");
    }
}
