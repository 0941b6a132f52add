//! What became of the tests on a machine, read from the events that it sent.

use std::collections::BTreeMap;

use serde_json::Value;

/// What a machine has said up to its end.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// The kernel that ran, as `uname -r` has it; `None` if the machine never came so far.
    pub release: Option<String>,
    /// By the name of the test.
    pub tests: BTreeMap<String, Test>,
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
    fn a_machine_that_never_started_has_said_nothing() {
        assert_eq!(Outcome::parse("Kernel panic\n[1,2]\n{}\n\"text\"\n"), Outcome::default());
    }
}
