//! What a waiting user sees: one line on the terminal, and nothing when it is not a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crate::report::units::{Count, Elapsed, Size};

/// The line.
pub struct Progress {
    shown: bool,
    last: Option<State>,
}

/// What can be told while tracing.
#[derive(Clone, Copy, Default)]
pub struct State {
    /// Since tracing began.
    pub elapsed: Duration,
    /// Live bytes of all targets.
    pub live_bytes: u64,
    /// Allocations so far.
    pub allocations: u64,
    /// Losses so far.
    pub losses: u64,
}

impl Progress {
    /// A line that is shown only on a terminal, and not if `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { shown: !quiet && io::stderr().is_terminal(), last: None }
    }

    /// Says what is being done now.
    pub fn say(&self, what: &str) {
        self.write(&format!("memtrace: {what} ..."));
    }

    /// Shows the state.
    pub fn show(&mut self, state: &State) {
        let last = self.last.replace(*state).unwrap_or_default();
        let seconds = (state.elapsed - last.elapsed).as_secs_f64().max(0.001);
        let rate = (state.allocations - last.allocations) as f64 / seconds;
        let losses = match state.losses {
            0 => "nothing lost".to_owned(),
            losses => format!("{} losses", Count(losses)),
        };
        self.write(&format!(
            "memtrace: {} · live {} · {}/s allocations · {losses} · Ctrl-C to report",
            Elapsed(state.elapsed),
            Size(state.live_bytes),
            Count(rate as u64),
        ));
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.write("");
    }

    fn write(&self, line: &str) {
        if self.shown {
            // A terminal that is gone is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
    }
}
