//! What must hold between the parts of a profile, so that reports need not check it.

use crate::profile::{MAX_POINTS, Profile, Stack, Timeline, View};

/// Deeper stacks cannot be recorded: drawing them would cost more than they tell.
const MAX_DEPTH: usize = 1 << 14;

/// Says what is wrong with `profile`.
pub(super) fn check(profile: &Profile) -> Result<(), &'static str> {
    for stack in &profile.stacks {
        check_stack(profile, stack)?;
    }
    for view in View::ALL {
        check_sums(profile, view)?;
    }
    check_segments(profile)?;
    check_groups(profile)?;
    check_timeline(&profile.timeline)
}

fn check_stack(profile: &Profile, stack: &Stack) -> Result<(), &'static str> {
    if stack.process as usize >= profile.processes.len() {
        return Err("a stack belongs to no process");
    }
    if stack.frames.iter().any(|&frame| frame as usize >= profile.frames.len()) {
        return Err("a stack has an unknown frame");
    }
    if stack.frames.len() > MAX_DEPTH {
        return Err("a stack is too deep");
    }
    Ok(())
}

fn check_segments(profile: &Profile) -> Result<(), &'static str> {
    let mut users = profile.segments.iter().flat_map(|segment| &segment.users);
    if users.any(|user| user.process as usize >= profile.processes.len()) {
        return Err("shared memory is mapped by no process");
    }
    Ok(())
}

fn check_groups(profile: &Profile) -> Result<(), &'static str> {
    let incident = profile.incident.iter();
    let limits = incident.clone().flat_map(|incident| &incident.limit).map(|limit| &limit.group);
    let groups = profile.groups.iter().chain(limits);
    let members = incident.clone().flat_map(|incident| &incident.members);
    let victims = incident.filter_map(|incident| incident.process);
    let mut indices = groups
        .flat_map(|group| group.processes.iter().copied())
        .chain(members.filter_map(|member| member.process))
        .chain(victims);
    if indices.any(|index| index as usize >= profile.processes.len()) {
        return Err("a control group has an unknown process");
    }
    Ok(())
}

/// A chart runs from left to right, and sizes are drawn as differences.
fn check_timeline(timeline: &Timeline) -> Result<(), &'static str> {
    if timeline.points.len() > MAX_POINTS {
        return Err("its timeline is too long");
    }
    if !timeline.points.is_sorted_by_key(|point| point.at) {
        return Err("its timeline goes backwards");
    }
    Ok(())
}

/// Formats such as pprof count in `i64`.
fn check_sums(profile: &Profile, view: View) -> Result<(), &'static str> {
    for total in [profile.total(view), profile.counted().of(view)] {
        if i64::try_from(total.bytes).is_err() || i64::try_from(total.objects).is_err() {
            return Err("its sizes add up to more than memory can hold");
        }
    }
    Ok(())
}
