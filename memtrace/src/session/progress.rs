//! What a waiting user sees: one line on the terminal, and nothing when it is not a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use crate::{
    profile::BasisPoints,
    report::units::{Count, Elapsed, Size, Things},
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
        self.write(&describe(state, rate, width()));
    }

    /// Removes the line.
    pub fn clear(&self) {
        self.write("");
    }

    fn write(&self, line: &str) {
        if self.shown {
            let line: String = line.chars().take(width()).collect();
            // A terminal that is gone is no reason to stop.
            let _ = write!(io::stderr(), "\r\x1b[K{line}");
        }
    }
}

/// Characters that fit: a line that wraps could not be removed again.
fn width() -> usize {
    let width = terminal_size::terminal_size_of(io::stderr());
    width.map_or(80, |(width, _)| usize::from(width.0)).saturating_sub(1)
}

/// The state in a line of at most `width` characters, if it can be; what matters least goes first.
fn describe(state: &State, rate: u64, width: usize) -> String {
    let probes = state.share.map_or_else(|| "probes off".into(), |share| format!("probes {share}"));
    let losses = match state.losses {
        0 => "nothing lost".to_owned(),
        losses => Things(losses, "loss").to_string(),
    };
    let mut parts = vec![
        "memtrace".to_owned(),
        Elapsed(state.elapsed).to_string(),
        format!("live {}", Size(state.live_bytes)),
        format!("{}/s allocations", Count(rate)),
        probes,
        losses,
        "Ctrl-C to report".to_owned(),
    ];
    let dispensable = if state.losses == 0 { [5, 0, 2, 2] } else { [0, 2, 2, 2] };
    for place in dispensable {
        if parts.join(" · ").chars().count() <= width {
            break;
        }
        parts.remove(place);
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_end_it_is_never_cut_off() {
        let state = State {
            elapsed: Duration::from_secs(725),
            live_bytes: 123 << 20,
            share: Some(BasisPoints(1_230)),
            ..State::default()
        };
        let texts = [200, 79, 60].map(|width| describe(&state, 123_456, width));
        assert_eq!(
            texts,
            [
                "memtrace · 12 min 05 s · live 123 MiB · 123,456/s allocations · probes 12.3 % · \
                 nothing lost · Ctrl-C to report",
                "12 min 05 s · live 123 MiB · probes 12.3 % · Ctrl-C to report",
                "12 min 05 s · live 123 MiB · Ctrl-C to report",
            ]
        );
        let losing = describe(&State { losses: 7, ..state }, 123_456, 79);
        assert_eq!(
            losing,
            "12 min 05 s · live 123 MiB · probes 12.3 % · 7 losses · Ctrl-C to report"
        );
    }
}
