//! A snapshot as JSON. Sizes are integers of bytes, times are seconds; names are the target's own.
//!
//! ```json
//! {
//!   "schema": 1,
//!   "kind": "snapshot",
//!   "session": { "version": "0.1.0", "taken": 1793534400, "duration_seconds": 0.4,
//!     "command_line": "memtrace snapshot --pid 4242", "host": "radar-7", "kernel": "6.18.5" },
//!   "process": { "pid": 4242, "comm": "python3", "command_line": "python3 job.py",
//!     "python": "3.11.7", "state": "S", "cpu_seconds": 1.5, "rss_bytes": 4096,
//!     "peak_rss_bytes": 4096, "swapped_bytes": 0 },
//!   "threads": [ { "id": 4242, "name": "python3", "state": "S", "cpu_seconds": 1.5,
//!     "wait_channel": "futex_do_wait", "system_call": "futex", "is_python": true,
//!     "holds_interpreter_lock": false, "moment": "waiting", "frames": [ FRAME ],
//!     "stack_missing": null } ],
//!   "memory": DECOMPOSITION,
//!   "heap_uses": { "python_blocks": 4096, "rest": 0 },
//!   "heap": { "glibc": "2.36", "arenas": [ { "address": 4096, "is_main": true,
//!     "account": ACCOUNT } ], "mapped": ACCOUNT, "total": ACCOUNT,
//!     "advice": [ { "remedy": "malloc_trim", "bytes": 4096, "measured": true } ],
//!     "doubts": [] },
//!   "objects": { "python": "3.11.7", "allocator": "pymalloc", "arenas": 3,
//!     "arenas_resident_bytes": 4096, "arenas_used_bytes": 4000,
//!     "arenas_by_use": [ { "least_percent": 0, "below_percent": 10, "arenas": 3,
//!       "resident_bytes": 4096, "used_bytes": 400, "types": [ { "name": "dict", "count": 3 } ] } ],
//!     "sparse_pools": { "pools": 1, "bytes": 16384, "used_bytes": 400,
//!       "types": [ { "name": "dict", "count": 3 } ] },
//!     "types": [ { "name": "dict", "count": 3, "bytes": 192 } ],
//!     "arrays": [ { "address": 4096, "dtype": "float64", "shape": [3], "bytes": 24,
//!       "resident_bytes": 24, "view_of": null, "holder": HOLDER } ],
//!     "array_count": 1, "array_bytes": 24,
//!     "data_frames": [ { "address": 4096, "rows": 3, "columns": 1, "bytes": 24,
//!       "dtypes": [ { "dtype": "int64", "columns": 1, "bytes": 24 } ], "holder": HOLDER } ],
//!     "buffers": [ { "address": 4096, "type": "bytes", "bytes": 65536, "resident_bytes": 65536,
//!       "holder": HOLDER } ],
//!     "containers": [ { "address": 4096, "type": "dict", "length": 3, "bytes": 192,
//!       "holder": HOLDER } ],
//!     "coverage": { "objects": 9, "failed_objects": 0, "changed_references": 0, "pools": 1,
//!       "failed_pools": 0, "blocks": 9, "other_blocks": 0, "other_bytes": 0, "complete": true } },
//!   "other_allocators": [ "libjemalloc.so.2" ],
//!   "shared": [ { "name": "/dev/shm/psm_1", "resident_bytes": 4096, "exact": true } ],
//!   "cost": { "interrupted_threads": 0, "interrupted_seconds": 0.0, "rss_bytes_before": 4096,
//!     "rss_bytes_after": 4096 },
//!   "ended": false,
//!   "missing": [ { "part": "threads", "reason": "no answer within 2s" } ],
//!   "notes": [ "libc.so.6: no usable table." ]
//! }
//! ```
//!
//! A part that is missing is `null`. `FRAME` and `DECOMPOSITION` are as in JSON reports of tracing;
//! frames are outermost first. `other_allocators` are files that bring a `malloc` of their own.
//! `heap_uses` adds up to the class `untraced`; `rest` is not malloc's if the heap was read. The fields
//! of `ACCOUNT` are those of [`crate::heap::Account`]. `HOLDER` is `{ "kind": "local", "path": "job.rows",
//! "function": "work", "file": "job.py", "thread": 4243 }`, or null; kinds are `local`, `module` and
//! `object`, and the last three fields are null for the others.
//! `ended` says whether the process ended meanwhile. `moment` says whether the frames are of one
//! moment: `waiting` and `running` are, `moving` need not be, `partial` was started from half the
//! registers. `schema` grows when a field changes its meaning or goes away.

mod memory;

use std::io::{BufWriter, Write};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    super::json::{FrameEntry, resident},
    remarks,
};
use crate::snapshot::{Cost, Part, Session, Snapshot, Subject, Thread};

const SCHEMA: u32 = 1;

/// Writes everything.
pub(super) fn write(snapshot: &Snapshot, to: impl Write) -> Result<()> {
    let mut to = BufWriter::new(to);
    serde_json::to_writer(&mut to, &document(snapshot)).context("write JSON")?;
    writeln!(to).and_then(|()| to.flush()).context("write JSON")
}

fn document(snapshot: &Snapshot) -> Value {
    let missing = remarks::missing(snapshot);
    let missing = missing.iter().map(|(part, reason)| json!({ "part": part, "reason": reason }));
    json!({
        "schema": SCHEMA,
        "kind": "snapshot",
        "session": session(&snapshot.session),
        "process": process(&snapshot.subject),
        "threads": snapshot.threads.read().map(|threads| threads.iter().map(thread).collect::<Vec<_>>()),
        "memory": snapshot.memory.read().map(resident::decomposition),
        "heap_uses": memory::uses(&snapshot.uses),
        "heap": snapshot.glibc.read().map(memory::heap),
        "objects": snapshot.objects.read().map(memory::objects),
        "other_allocators": snapshot.other_allocators,
        "shared": snapshot.shared.read().map(|segments| memory::shared(segments)),
        "cost": cost(&snapshot.cost),
        "ended": snapshot.ended,
        "missing": missing.collect::<Vec<_>>(),
        "notes": snapshot.notes,
    })
}

fn session(session: &Session) -> Value {
    json!({
        "version": session.version,
        "taken": session.taken,
        "duration_seconds": session.duration.as_secs_f64(),
        "command_line": session.command_line,
        "host": session.host,
        "kernel": session.kernel,
    })
}

fn process(subject: &Subject) -> Value {
    json!({
        "pid": subject.pid,
        "comm": subject.comm,
        "command_line": subject.command_line,
        "python": subject.python,
        "state": subject.state,
        "cpu_seconds": subject.cpu_time.as_secs_f64(),
        "rss_bytes": subject.resident,
        "peak_rss_bytes": subject.peak_resident,
        "swapped_bytes": subject.swapped,
    })
}

fn thread(thread: &Thread) -> Value {
    let (stack, missing) = match &thread.stack {
        Part::Read(stack) => (Some(stack), None),
        Part::Missing(reason) => (None, Some(reason)),
    };
    let frames = stack.map(|stack| stack.frames.iter().map(FrameEntry::new).collect::<Vec<_>>());
    json!({
        "id": thread.task.id,
        "name": thread.task.name,
        "state": thread.task.state,
        "cpu_seconds": thread.task.cpu_time.as_secs_f64(),
        "wait_channel": thread.wait_channel,
        "system_call": thread.system_call,
        "is_python": thread.is_python,
        "holds_interpreter_lock": thread.holds_lock,
        "moment": stack.map(|stack| stack.moment.name()),
        "frames": frames,
        "stack_missing": missing,
    })
}

fn cost(cost: &Cost) -> Value {
    json!({
        "interrupted_threads": cost.interruptions,
        "interrupted_seconds": cost.interrupted.as_secs_f64(),
        "rss_bytes_before": cost.resident.map(|(before, _)| before),
        "rss_bytes_after": cost.resident.map(|(_, after)| after),
    })
}
