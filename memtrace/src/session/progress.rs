//! What a waiting user sees: one line on the terminal, and nothing when it is not a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crate::{
    profile::BasisPoints,
    report::units::{Count, Elapsed, Size},
};

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
    /// The probes' share of the CPU time of the target for which it is largest, lately.
    pub share: Option<BasisPoints>,
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
        let milliseconds = state.elapsed.saturating_sub(last.elapsed).as_millis().max(1);
        let allocations = u128::from(state.allocations.saturating_sub(last.allocations));
        let rate = u64::try_from(allocations * 1000 / milliseconds).unwrap_or(u64::MAX);
        let probes =
            state.share.map_or_else(|| "probes off".into(), |share| format!("probes {share}"));
        let losses = match state.losses {
            0 => "nothing lost".to_owned(),
            losses => format!("{} losses", Count(losses)),
        };
        self.write(&format!(
            "memtrace: {} · live {} · {}/s allocations · {probes} · {losses} · Ctrl-C to report",
            Elapsed(state.elapsed),
            Size(state.live_bytes),
            Count(rate),
        ));
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.write("");
    }

    fn write(&self, line: &str) {
        if self.shown {
            // A line that wraps could not be removed again.
            let width = terminal_size::terminal_size_of(io::stderr());
            let width = width.map_or(80, |(width, _)| usize::from(width.0));
            let line: String = line.chars().take(width.saturating_sub(1)).collect();
            // A terminal that is gone is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
    }
}
