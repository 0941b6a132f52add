//! What became of the tests on a machine, read from the events that it sent.

use std::collections::BTreeMap;

use anyhow::{Error, Result};
use serde_json::Value;

/// So many machines are given to tests that keep ending them.
const MOST_MACHINES: usize = 4;

/// What machines of a kind have said up to their ends.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// The kernel that ran, as `uname -r` has it; `None` if the machine never came so far.
    pub release: Option<String>,
    /// By the name of the test. One that a machine has ended in has no result.
    pub tests: BTreeMap<String, Test>,
    /// What is wrong whatever the tests say: a machine that does not start, a fault of the kernel's.
    pub faults: Vec<String>,
}

/// What became of one test.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Test {
    /// `None` if the machine ended first.
    pub passed: Option<bool>,
    /// What it took.
    pub seconds: f64,
    /// What it printed.
    pub printed: String,
}

impl Outcome {
    /// Reads a log with one JSON object in each line. A line cut off by the end of the machine, or
    /// written by something else, says nothing.
    pub fn parse(log: &str) -> Self {
        let mut outcome = Self::default();
        for line in log.lines() {
            if let Ok(event) = serde_json::from_str(line.trim()) {
                outcome.add(&event);
            }
        }
        outcome
    }

    /// Boots a machine for tests, and another one for those that are left when a test has ended it;
    /// `boot` is told which machine it is, from 1 on.
    pub fn of_machines(tests: &[String], boot: impl Fn(usize, &[String]) -> Result<Self>) -> Self {
        let (mut outcome, mut waiting) = (Self::default(), tests.to_vec());
        for machine in 1..=MOST_MACHINES {
            if waiting.is_empty() {
                break;
            }
            let next = boot(machine, &waiting).unwrap_or_else(|error| Self::of_error(&error));
            waiting.retain(|test| !next.tests.contains_key(test));
            let is_useless = next.tests.is_empty();
            outcome.extend(next);
            if is_useless {
                break;
            }
        }
        outcome
    }

    fn of_error(error: &Error) -> Self {
        Self { faults: vec![format!("{error:#}")], ..Self::default() }
    }

    fn extend(&mut self, next: Self) {
        self.release = self.release.take().or(next.release);
        self.tests.extend(next.tests);
        self.faults.extend(next.faults);
    }

    fn add(&mut self, event: &Value) {
        match (event["type"].as_str(), event["event"].as_str()) {
            (Some("machine"), Some("started")) => {
                self.release = event["release"].as_str().map(str::to_owned);
            }
            (Some("test"), Some(kind)) => {
                if let Some(name) = event["name"].as_str() {
                    self.tests.entry(name.to_owned()).or_default().add(kind, event);
                }
            }
            _ => {}
        }
    }
}

impl Test {
    fn add(&mut self, kind: &str, event: &Value) {
        match kind {
            "ok" => self.passed = Some(true),
            "failed" => self.passed = Some(false),
            _ => return,
        }
        self.seconds = event["exec_time"].as_f64().unwrap_or_default();
        event["stdout"].as_str().unwrap_or_default().clone_into(&mut self.printed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// As libtest of Rust 1.95 writes it, behind the words of some other program.
    const LOG: &str = r#"{"type": "machine", "event": "started", "release": "6.1.0-56-cloud-amd64"}
{ "type": "suite", "event": "started", "test_count": 3 }
{ "type": "test", "event": "started", "name": "a::first" }
some program said this
{ "type": "test", "name": "a::first", "event": "ok", "exec_time": 1.5 }
{ "type": "test", "event": "started", "name": "a::second" }
{ "type": "test", "name": "a::second", "event": "failed", "exec_time": 0.25, "stdout": "left: 1\nright: 2\n" }
{ "type": "test", "event": "started", "name": "b::third" }
{ "type": "test", "name": "b::third", "event": "o"#;

    #[test]
    fn events_tell_what_became_of_each_test() {
        let outcome = Outcome::parse(LOG);
        assert_eq!(outcome.release.as_deref(), Some("6.1.0-56-cloud-amd64"));
        let test =
            |passed, seconds, printed: &str| Test { passed, seconds, printed: printed.into() };
        let expected = [
            ("a::first".to_owned(), test(Some(true), 1.5, "")),
            ("a::second".to_owned(), test(Some(false), 0.25, "left: 1\nright: 2\n")),
            ("b::third".to_owned(), test(None, 0.0, "")),
        ];
        assert_eq!(outcome.tests, BTreeMap::from(expected));
    }

    #[test]
    fn tests_behind_one_that_ends_the_machine_have_another() {
        let tests = ["a::first", "a::second", "b::third", "c::fourth"].map(str::to_owned);
        let asked = RefCell::new(Vec::new());
        let outcome = Outcome::of_machines(&tests, |machine, tests| {
            asked.borrow_mut().push((machine, tests.len()));
            let last = r#"{"type": "test", "name": "c::fourth", "event": "ok"}"#;
            Ok(Outcome::parse(if machine == 1 { LOG } else { last }))
        });
        assert_eq!(asked.take(), [(1, 4), (2, 1)]);
        let results: Vec<_> = outcome.tests.values().map(|test| test.passed).collect();
        assert_eq!(results, [Some(true), Some(false), None, Some(true)]);
        assert_eq!(outcome.release.as_deref(), Some("6.1.0-56-cloud-amd64"));
    }

    #[test]
    fn a_machine_without_any_test_is_the_last() {
        let tests = ["a::first".to_owned()];
        let outcome = Outcome::of_machines(&tests, |machine, _| match machine {
            1 => Err(anyhow::anyhow!("no QEMU").context("start it")),
            _ => panic!("another one"),
        });
        assert_eq!(outcome.faults, ["start it: no QEMU"]);
    }

    #[test]
    fn a_machine_that_never_started_has_said_nothing() {
        assert_eq!(Outcome::parse("Kernel panic\n[1,2]\n{}\n\"text\"\n"), Outcome::default());
    }
}
