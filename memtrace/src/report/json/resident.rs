//! The parts of the document about resident memory.

use serde_json::{Map, Value, json};

use crate::profile::{
    AtPeak, ByKind, Decomposition, Point, Profile, Segment, Sharing, Shed, Timeline,
};

/// Resident memory by who else has it.
pub(super) fn sharing(sharing: Sharing) -> Value {
    json!({
        "private_bytes": sharing.private,
        "shared_bytes": sharing.shared,
        "proportional_bytes": sharing.proportional,
    })
}

/// The most that all processes had at one moment.
pub(super) fn together(timeline: &Timeline) -> Value {
    let (live, resident) = (timeline.most_live(), timeline.highest());
    let once = timeline.together;
    let seconds = |point: Option<&Point>| point.map(|point| point.at.as_secs_f64());
    json!({
        "live_bytes": live.map(|point| point.live),
        "live_seconds": seconds(live),
        "resident_bytes": resident.map(|point| point.resident.sum()),
        "resident_seconds": seconds(resident),
        "counted_once_bytes": once.map(|most| most.proportional),
        "counted_once_private_bytes": once.map(|most| most.private),
        "counted_once_seconds": once.map(|most| most.at.as_secs_f64()),
    })
}

/// What the RSS of a process consists of.
pub(in crate::report) fn decomposition(decomposition: &Decomposition) -> Value {
    let parts = decomposition.parts.iter();
    let parts: Map<_, _> =
        parts.map(|part| (part.class.name().to_owned(), part.bytes.into())).collect();
    json!({
        "resident_bytes": decomposition.resident,
        "parts": parts,
        "remainder_bytes": decomposition.remainder(),
        "absent_live_bytes": decomposition.absent,
        "swapped_bytes": decomposition.swapped,
        "huge_bytes": decomposition.huge,
        "transparent_huge_bytes": decomposition.transparent,
        "moved_bytes": decomposition.moved,
    })
}

/// What was resident at the peak.
pub(super) fn at_peak(at_peak: &AtPeak) -> Value {
    let AtPeak { resident: ByKind { anonymous, shared, file }, distance, before } = *at_peak;
    let distance = distance.as_secs_f64() * if before { -1.0 } else { 1.0 };
    json!({ "anonymous": anonymous, "shared": shared, "file": file, "distance_seconds": distance })
}

/// How the budget acted.
pub(super) fn shed(shed: &Shed) -> Value {
    json!({
        "seconds": shed.at.as_secs_f64(),
        "share": shed.share.fraction(),
        "after_seconds": shed.after.as_secs_f64(),
        "limit": shed.limit.fraction(),
    })
}

/// Memory over time, in columns.
pub(super) fn timeline(timeline: &Timeline) -> Value {
    let points = &timeline.points;
    let column = |of: fn(&ByKind) -> u64| -> Vec<u64> {
        points.iter().map(|point| of(&point.resident)).collect()
    };
    let times: Vec<f64> = points.iter().map(|point| point.at.as_secs_f64()).collect();
    json!({
        "looks_per_point": timeline.looks_per_point,
        "seconds": times,
        "anonymous": column(|kinds| kinds.anonymous),
        "shared": column(|kinds| kinds.shared),
        "file": column(|kinds| kinds.file),
        "live": points.iter().map(|point| point.live).collect::<Vec<_>>(),
    })
}

/// Shared memory.
pub(super) fn segments(profile: &Profile) -> Vec<Value> {
    profile.segments.iter().map(segment).collect()
}

fn segment(segment: &Segment) -> Value {
    let users = segment.users.iter();
    let users: Vec<_> = users
        .map(|user| json!({ "process": user.process, "resident_bytes": user.resident }))
        .collect();
    json!({
        "name": segment.name,
        "resident_bytes": segment.resident,
        "exact": segment.exact,
        "users": users,
    })
}
