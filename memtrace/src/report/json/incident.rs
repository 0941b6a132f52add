//! The parts of the document about kills, control groups and limits.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::profile::{
    Advice, Cause, Counted, Evidence, Group, Incident, Largest, Limit, Member, Subject,
};

/// A kill.
pub(super) fn incident(incident: &Incident) -> Value {
    json!({
        "at_millis": incident.at_millis,
        "cause": cause(&incident.cause),
        "killed_by": killed_by(&incident.cause),
        "pid": incident.pid,
        "comm": incident.comm,
        "command_line": incident.command_line,
        "cgroup": incident.cgroup,
        "process": incident.process,
        "counted": incident.counted.as_ref().map(counted),
        "limit": incident.limit.as_ref().map(limit),
        "members": incident.members.iter().map(member).collect::<Vec<_>>(),
        "more_members": incident.more_members,
        "looked_before_seconds": incident.looked_before.as_secs_f64(),
        "kernel_log": incident.log,
    })
}

const fn cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::OutOfMemory => "out_of_memory",
        Cause::Signal { .. } => "signal",
        Cause::NearLimit => "near_limit",
        Cause::Pressure => "pressure",
    }
}

fn killed_by(cause: &Cause) -> Value {
    match cause {
        Cause::Signal { pid, comm } if *pid != 0 => json!({ "pid": pid, "comm": comm }),
        _ => Value::Null,
    }
}

fn counted(counted: &Counted) -> Value {
    json!({
        "rss_bytes": counted.resident.sum(),
        "anonymous": counted.resident.anonymous,
        "shared": counted.resident.shared,
        "file": counted.resident.file,
        "total_bytes": counted.total,
        "page_tables_bytes": counted.page_tables,
        "oom_score_adj": counted.oom_score_adj,
    })
}

fn limit(limit: &Limit) -> Value {
    let evidence = match limit.evidence {
        Evidence::Log => "log",
        Evidence::Counter => "counter",
        Evidence::Fullest => "fullest",
    };
    json!({
        "group": group(&limit.group),
        "looked_before_seconds": limit.looked_before.as_secs_f64(),
        "evidence": evidence,
    })
}

fn member(member: &Member) -> Value {
    json!({
        "pid": member.pid,
        "comm": member.comm,
        "rss_bytes": member.resident,
        "grown_bytes": member.grown,
        "over_seconds": member.over.as_secs_f64(),
        "grown_lately_bytes": member.lately,
        "process": member.process,
    })
}

/// A control group.
pub(super) fn group(group: &Group) -> Value {
    let stat: Map<_, _> =
        group.stat.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    json!({
        "path": group.path,
        "name": group.name(),
        "limit_bytes": group.limit,
        "usage_bytes": group.was_seen().then_some(group.usage),
        "working_set_bytes": group.was_seen().then_some(group.working_set),
        "peak_bytes": group.peak,
        "highest_working_set_bytes": group.highest_working_set,
        "usual_working_set_bytes": group.usual_working_set,
        "kills": group.kills,
        "stat": stat,
        "processes": group.processes,
    })
}

/// Limits to set.
pub(super) fn advice(advice: &Advice) -> Value {
    let (process, group) = match advice.subject {
        Subject::Process(index) => (Some(index), None),
        Subject::Group(index) => (None, Some(index)),
    };
    json!({
        "process": process,
        "group": group,
        "peak_bytes": advice.peak,
        "usual_bytes": advice.usual,
        "observed_seconds": Duration::as_secs_f64(&advice.observed),
        "was_killed": advice.was_killed,
        "headroom_percent": advice.headroom,
        "request_bytes": advice.request,
        "limit_bytes": advice.limit,
        "high_bytes": advice.high,
        "max_bytes": advice.max,
        "shared_bytes": advice.shared,
        "each_bytes": advice.each(),
        "largest": advice.largest.as_ref().map(largest),
    })
}

fn largest(largest: &Largest) -> Value {
    json!({
        "frame": largest.frame,
        "bytes": largest.bytes,
        "limit_without_bytes": largest.limit_without,
    })
}
