//! JSON, for programs. Sizes are integers of bytes, times are seconds; names are the target's own,
//! neither shortened nor escaped beyond what JSON needs.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "session": { "version": "0.1.0", "started": 1793534400, "duration_seconds": 30.25,
//!     "command_line": "memtrace --pid 4242", "host": "radar-7", "kernel": "6.18.5",
//!     "detail": "full", "sample_interval_bytes": 0, "symbolized": true },
//!   "cost": { "hits": 9, "seconds": 0.1, "share": 0.03, "limit": 0.1, "probes": [ { "name":
//!     "malloc (libc.so.6)", "hits": 9, "nanoseconds_per_hit": 550, "slow": false } ] },
//!   "processes": [ { "pid": 4242, "parent": null, "role": "gunicorn worker",
//!     "place": "web.service", "comm": "python3", "command_line": "python3 job.py",
//!     "python": "3.11.7", "amounts": AMOUNTS, "peak_seconds": 12.3, "began_seconds": 0.0, "ended_seconds": null,
//!     "calls": { "allocations": 1, "releases": 0, "unknown_releases": 0, "failures": 0 },
//!     "rss_bytes": 4096, "highest_rss_bytes": 8192, "usual_rss_bytes": 4095,
//!     "sharing": { "private_bytes": 2048, "shared_bytes": 2048, "proportional_bytes": 3072 },
//!     "decomposition": DECOMPOSITION,
//!     "at_peak": { "anonymous": 4096, "shared": 0, "file": 0, "distance_seconds": -0.02 },
//!     "shed": { "seconds": 4.5, "share": 0.62, "after_seconds": 2.0, "limit": 0.1 },
//!     "residence": { "touched": 4096, "held": 0, "nearest": 0, "mapped": 0, "before": 0, "unknown": 0,
//!       "is_measured": true }, "heap": HEAP } ],
//!   "totals": AMOUNTS,
//!   "together": { "live_bytes": 64, "live_seconds": 0.2, "resident_bytes": 4096,
//!     "resident_seconds": 0.1, "counted_once_bytes": 4096, "counted_once_private_bytes": 2048,
//!     "counted_once_seconds": 0.1 },
//!   "view": "live",
//!   "coverage": { "counted": AMOUNT, "stacks": AMOUNT, "incomplete": AMOUNT },
//!   "lines": [ { "function": "build", "module": null, "file": "/srv/grid.py", "line": 3,
//!     "processes": 1, "callee": "array_empty (_multiarray_umath.so)", "amounts": AMOUNTS } ],
//!   "timeline": { "looks_per_point": 1, "seconds": [0.1, 0.2], "anonymous": [4096, 4096],
//!     "shared": [0, 0], "file": [0, 0], "live": [64, 64] },
//!   "segments": [ { "name": "/dev/shm/psm_1", "resident_bytes": 4096, "exact": true,
//!     "users": [ { "process": 0, "resident_bytes": 4096 } ] } ],
//!   "groups": [ GROUP ],
//!   "incident": INCIDENT,
//!   "advice": [ { "process": 0, "group": null, "peak_bytes": 8192, "usual_bytes": 4095,
//!     "observed_seconds": 3600.0, "was_killed": false, "headroom_percent": 30,
//!     "request_bytes": 16777216, "limit_bytes": 16777216, "high_bytes": 16777216,
//!     "max_bytes": 16777216, "shared_bytes": 0, "each_bytes": 16777216, "largest": { "frame": 0, "bytes": 64,
//!     "limit_without_bytes": 16777216 } } ],
//!   "losses": [ { "what": "allocations without a stack", "count": 1, "advice": "raise it" } ],
//!   "notes": [ "The malloc probes were taken off." ],
//!   "frames": [ { "kind": "python", "name": "build", "module": null, "address": null,
//!     "file": "/srv/grid.py", "line": 3 } ],
//!   "stacks": [ { "process": 0, "frames": [0], "amounts": AMOUNTS } ]
//! }
//! ```
//!
//! `AMOUNTS` is `{ "live": AMOUNT, "peak": AMOUNT, "allocated": AMOUNT, "absent": AMOUNT,
//! "resident": AMOUNT, "shared": AMOUNT, "fragmentation": AMOUNT, "inherited": AMOUNT }`: `absent` is
//! live memory that is not in memory, `resident` is in memory and was touched first by the stack (its
//! objects are pages), and `shared` is the part of it that is shared memory. A process that was forked inherits what was live in its parent, which is
//! not among what it allocated itself. `together` is the most that all processes had at one moment,
//! as far as they were looked at, `counted_once` with what they share counted once (the sum of `Pss`,
//! null of one process); `parent` is a process id among `processes`. `AMOUNT` is `{ "bytes": 64, "objects": 1 }`; fragmentation is free memory that stays resident
//! because of blocks on the same pages, its objects are those blocks. `HEAP` is `null` unless the
//! heap was looked at, else `{ "arenas": [ { "name": "main arena", "size": 8192, "resident": 8192,
//! "live": 100, "blocks": 1, "free": 8092, "pinned": 3996, "trimmable": 4096, "kept": 0 } ],
//! "remarks": [ "malloc_trim(0) would return 4.00 KiB." ] }`, in bytes. `lines` has every line with
//! memory in any view; `view` is what they are sorted by and what `coverage` and `callee` are about.
//! `kind` is `python`, `native`, `gap`, or `origin` for memory without a stack. A stack's `process`
//! is an index into
//! `processes`, its `frames` are indices into `frames`, outermost first. `schema` grows when a
//! field changes its meaning or goes away.
//!
//! `DECOMPOSITION` is `{ "resident_bytes": 4096, "parts": { "live": 64 }, "remainder_bytes": 0,
//! "absent_live_bytes": 0, "swapped_bytes": 0, "huge_bytes": 0, "transparent_huge_bytes": 0, "moved_bytes": 0 }`,
//! or null after the end of the process. `parts` and the remainder, which may be negative, add up to the resident
//! bytes; classes are `live`, `overhead`, `free`, `untraced`, `data`, `file`, `shared`, `stacks` and
//! `other`, and those without memory are left out. `at_peak` is what was resident that long after
//! the moment when most was live, or before it if negative. `shed` tells when and why probes were
//! taken off. `residence` is how it is known whose the resident bytes are: by their first touch, by the
//! live block on them, by the touch of the nearest page, by who mapped them, or from before tracing; unless it `is_measured`, the process
//! had ended, and it is an estimate, of its `rss_bytes`, the most in its last two seconds. The columns of `timeline` are of all processes together.
//!
//! `GROUP` is a control group: `{ "path": "/jobs", "name": null, "limit_bytes": 1073741824,
//! "usage_bytes": 64, "working_set_bytes": 64, "peak_bytes": 64, "highest_working_set_bytes": 64,
//! "usual_working_set_bytes": 64, "kills": 0, "stat": { "anon": 64 }, "processes": [0] }`; `stat` is
//! `memory.stat` in the kernel's words, `processes` are indices; of a group that was not looked at before
//! the kill, `stat` is empty and what is in use null. `INCIDENT` is null, or why the
//! profile was written down: `{ "at_millis": 1793534400000, "cause": "out_of_memory", "killed_by":
//! null, "pid": 4242, "comm": "python3", "command_line": "python3 job.py", "cgroup": "/jobs/1",
//! "process": 0, "counted": { "rss_bytes": 64, "anonymous": 64, "shared": 0, "file": 0,
//! "total_bytes": 640, "page_tables_bytes": 64, "oom_score_adj": 0 }, "limit": { "group": GROUP,
//! "looked_before_seconds": 0.1, "evidence": "log" }, "members": [ { "pid": 4242, "comm": "python3",
//! "rss_bytes": 64, "grown_bytes": 32, "over_seconds": 60.0, "grown_lately_bytes": 8, "process": 0 } ], "more_members": 0,
//! "looked_before_seconds": 0.1, "kernel_log": [] }`. Causes are `out_of_memory`, `signal` (then
//! `killed_by` is `{ "pid": 1, "comm": "systemd-oomd" }`), and of what was not killed `near_limit` and
//! `pressure`; `evidence` is `log`, `counter` or `fullest`. `advice` are limits to set for a process
//! or a group, of which one is null.

mod incident;
pub(super) mod resident;

use std::{
    io::{BufWriter, Write},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::profile::{
    Amounts, BasisPoints, Coverage, Frame, Line, Location, Loss, Process, Profile, Session, Stack,
    View,
};

const SCHEMA: u32 = 1;

/// Writes everything that is in `profile`.
pub(super) fn write(profile: &Profile, view: View, to: impl Write) -> Result<()> {
    let mut to = BufWriter::new(to);
    serde_json::to_writer(&mut to, &Document::new(profile, view)).context("write JSON")?;
    writeln!(to).and_then(|()| to.flush()).context("write JSON")
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    session: Value,
    cost: Value,
    processes: Vec<Value>,
    totals: Amounts,
    together: Value,
    view: &'static str,
    coverage: Coverage,
    lines: Vec<LineEntry<'a>>,
    timeline: Value,
    segments: Vec<Value>,
    groups: Vec<Value>,
    incident: Option<Value>,
    advice: Vec<Value>,
    losses: &'a [Loss],
    notes: &'a [String],
    frames: Vec<FrameEntry<'a>>,
    stacks: &'a [Stack],
}

impl<'a> Document<'a> {
    fn new(profile: &'a Profile, view: View) -> Self {
        let (lines, texts) = (profile.every_line(view), profile.frame_texts());
        Self {
            schema: SCHEMA,
            session: session(&profile.session),
            cost: cost(&profile.session),
            processes: profile.processes.iter().map(process).collect(),
            totals: profile.counted(),
            together: resident::together(&profile.timeline),
            view: view.name(),
            coverage: profile.coverage(view),
            lines: lines.iter().map(|line| LineEntry::new(profile, line, &texts)).collect(),
            timeline: resident::timeline(&profile.timeline),
            segments: resident::segments(profile),
            groups: profile.groups.iter().map(incident::group).collect(),
            incident: profile.incident.as_ref().map(incident::incident),
            advice: profile.advice().iter().map(incident::advice).collect(),
            losses: &profile.losses,
            notes: &profile.notes,
            frames: profile.frames.iter().map(FrameEntry::new).collect(),
            stacks: &profile.stacks,
        }
    }
}

fn session(session: &Session) -> Value {
    json!({
        "version": session.version,
        "started": session.started,
        "duration_seconds": session.duration.as_secs_f64(),
        "command_line": session.command_line,
        "host": session.host,
        "kernel": session.kernel,
        "detail": session.detail,
        "sample_interval_bytes": session.sample_interval_bytes,
        "symbolized": session.symbolized,
    })
}

fn cost(session: &Session) -> Value {
    let cost = &session.cost;
    json!({
        "hits": cost.hits(),
        "seconds": cost.time().as_secs_f64(),
        "share": cost.share(),
        "limit": cost.limit.map(BasisPoints::fraction),
        "probes": cost.probes,
    })
}

fn process(process: &Process) -> Value {
    json!({
        "pid": process.pid,
        "parent": process.parent,
        "role": process.role,
        "place": process.place,
        "comm": process.comm,
        "command_line": process.command_line,
        "python": process.python,
        "amounts": process.amounts,
        "peak_seconds": process.peak_at.as_ref().map(Duration::as_secs_f64),
        "began_seconds": process.began.as_secs_f64(),
        "ended_seconds": process.ended.as_ref().map(Duration::as_secs_f64),
        "calls": process.calls,
        "rss_bytes": process.rss_bytes,
        "highest_rss_bytes": process.highest_rss_bytes,
        "sharing": process.sharing.map(resident::sharing),
        "usual_rss_bytes": process.usual_rss_bytes,
        "decomposition": process.decomposition.as_ref().map(resident::decomposition),
        "at_peak": process.at_peak.as_ref().map(resident::at_peak),
        "shed": process.shed.as_ref().map(resident::shed),
        "residence": process.residence,
        "heap": process.heap,
    })
}

#[derive(Serialize)]
struct LineEntry<'a> {
    function: Option<String>,
    module: Option<&'a str>,
    file: Option<&'a str>,
    line: Option<u32>,
    processes: usize,
    callee: Option<String>,
    amounts: Amounts,
}

impl<'a> LineEntry<'a> {
    fn new(profile: &'a Profile, line: &Line, texts: &[String]) -> Self {
        let frame = |index: u32| &profile.frames[index as usize];
        let entry = line.frame.map(|index| FrameEntry::new(frame(index))).unwrap_or_default();
        let text = |index: u32| texts[index as usize].clone();
        Self {
            function: entry.name.map(str::to_owned).or_else(|| line.frame.map(text)),
            module: entry.module,
            file: entry.file,
            line: entry.line,
            processes: line.processes,
            callee: line.callee.map(text),
            amounts: line.amounts,
        }
    }
}

/// A frame of a stack.
#[derive(Default, Serialize)]
pub(super) struct FrameEntry<'a> {
    kind: &'static str,
    name: Option<&'a str>,
    module: Option<&'a str>,
    address: Option<u64>,
    file: Option<&'a str>,
    line: Option<u32>,
}

impl<'a> FrameEntry<'a> {
    pub(super) fn new(frame: &'a Frame) -> Self {
        match frame {
            Frame::Python { qualname, location } => {
                Self { kind: "python", name: Some(qualname), ..Self::at(Some(location)) }
            }
            Frame::Native { symbol, module, address, location } => Self {
                kind: "native",
                name: symbol.as_deref(),
                module: module.as_deref(),
                address: Some(*address),
                ..Self::at(location.as_ref())
            },
            Frame::Gap { reason } => Self { kind: "gap", name: Some(reason), ..Self::default() },
            Frame::Origin { what } => Self { kind: "origin", name: Some(what), ..Self::default() },
        }
    }

    fn at(location: Option<&'a Location>) -> Self {
        let file = location.map(|location| &*location.file);
        Self { file, line: location.and_then(|location| location.line), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example;

    #[test]
    fn stacks_add_up_and_their_frames_exist() {
        let profile = example::profile();
        let mut bytes = Vec::new();
        write(&profile, View::Peak, &mut bytes).unwrap();
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        let stacks = json["stacks"].as_array().unwrap();
        let peak = |entry: &Value| entry["amounts"]["peak"]["bytes"].as_u64().unwrap();
        assert_eq!(stacks.iter().map(peak).sum::<u64>(), profile.total(View::Peak).bytes);
        let lines = json["lines"].as_array().unwrap();
        assert_eq!(lines.iter().map(peak).sum::<u64>(), profile.total(View::Peak).bytes);
        let innermost = stacks[2]["frames"].as_array().unwrap().last().unwrap().as_u64().unwrap();
        assert_eq!(json["frames"][innermost as usize]["name"], "malloc");
    }

    #[test]
    fn lines_hold_the_total_of_every_view() {
        let profile = example::profile();
        let document = Document::new(&profile, View::Live);
        for view in View::ALL {
            let sum: u64 = document.lines.iter().map(|line| line.amounts.of(view).bytes).sum();
            assert_eq!(sum, profile.total(view).bytes, "{view:?}");
        }
        assert!(document.lines.len() > profile.lines(View::Live).len(), "some are live no more");
    }

    #[test]
    fn names_are_the_targets_own() {
        let frame = Frame::Gap { reason: "a;b\n".into() };
        assert_eq!(FrameEntry::new(&frame).name, Some("a;b\n"));
    }
}
