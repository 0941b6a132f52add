//! What a reader of a snapshot must know besides the numbers, in words.

use super::super::units::{Count, Elapsed, Size};
use crate::{
    profile::printable,
    snapshot::{Cost, Snapshot},
};

/// `python3 (4242)`.
pub(super) fn subject(snapshot: &Snapshot) -> String {
    format!("{} ({})", printable(&snapshot.subject.comm), snapshot.subject.pid)
}

/// When, where and how it was taken, in a line.
pub(super) fn circumstances(snapshot: &Snapshot) -> String {
    let (session, subject) = (&snapshot.session, &snapshot.subject);
    let mut parts = vec![
        format!("read in {}", Elapsed(session.duration)),
        format!("RSS {}", Size(subject.resident)),
        format!("at most {}", Size(subject.peak_resident)),
    ];
    if subject.swapped > 0 {
        parts.push(format!("{} swapped out", Size(subject.swapped)));
    }
    parts.extend(subject.python.as_ref().map(|version| format!("Python {version}")));
    parts.push(format!("CPU time {}", Elapsed(subject.cpu_time)));
    if !session.host.is_empty() {
        parts.push(format!("on {}", printable(&session.host)));
    }
    parts.join(" · ")
}

/// What a reader must know first; empty if there is nothing.
pub(super) const fn first(snapshot: &Snapshot) -> &'static str {
    if snapshot.ended {
        "The process ended while it was read: what is here was read before that."
    } else {
        ""
    }
}

/// What the look did to the process.
pub(super) fn cost(cost: &Cost) -> String {
    let disturbed = match cost.interruptions {
        0 => "Time it was disturbed: none.".to_owned(),
        count => format!(
            "Time it was disturbed: {:.0} us, in which the stacks of {} running threads were \
             copied.",
            cost.interrupted.as_secs_f64() * 1e6,
            Count(count.into())
        ),
    };
    let resident = match cost.resident {
        None => "Its RSS could not be read again.".to_owned(),
        Some((before, after)) if before == after => "Change of its RSS: none.".to_owned(),
        Some((before, after)) => {
            let sign = if after > before { '+' } else { '-' };
            let change = Size(after.abs_diff(before));
            format!(
                "Its RSS changed by {sign}{change} meanwhile; nothing was allocated for memtrace."
            )
        }
    };
    format!("{disturbed} {resident}")
}

/// Parts that are missing, with the reason.
pub(super) fn missing(snapshot: &Snapshot) -> Vec<(&'static str, &str)> {
    let reasons = [
        ("threads", snapshot.threads.reason()),
        ("memory", snapshot.memory.reason()),
        ("heap", snapshot.glibc.reason()),
        ("objects", snapshot.objects.reason()),
        ("shared", snapshot.shared.reason()),
    ];
    reasons.into_iter().filter_map(|(part, reason)| Some((part, reason?))).collect()
}
