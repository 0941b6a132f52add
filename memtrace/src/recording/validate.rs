//! What must hold between the parts of a profile, so that reports need not check it.

use crate::profile::{Profile, Stack, View};

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
    Ok(())
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

/// Formats such as pprof count in `i64`.
fn check_sums(profile: &Profile, view: View) -> Result<(), &'static str> {
    for total in [profile.total(view), profile.counted().of(view)] {
        if i64::try_from(total.bytes).is_err() || i64::try_from(total.objects).is_err() {
            return Err("its sizes add up to more than memory can hold");
        }
    }
    Ok(())
}
