//! What a reader of a snapshot must know besides the numbers, in words.

use super::super::units::{Count, Elapsed, Size};
use crate::{
    profile::printable,
    snapshot::{Cost, Part, Snapshot},
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
        ("threads", reason(&snapshot.threads)),
        ("memory", reason(&snapshot.memory)),
        ("heap", reason(&snapshot.glibc)),
        ("objects", reason(&snapshot.objects)),
        ("shared", reason(&snapshot.shared)),
    ];
    reasons.into_iter().filter_map(|(part, reason)| Some((part, reason?))).collect()
}

fn reason<T>(part: &Part<T>) -> Option<&str> {
    match part {
        Part::Read(_) => None,
        Part::Missing(reason) => Some(reason),
    }
}
