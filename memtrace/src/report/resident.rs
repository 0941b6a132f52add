//! What resident memory consists of, in words: shared by every format for people.

use std::time::Duration;

use super::units::{Elapsed, Share, Size};
use crate::profile::{
    Amounts, AtPeak, ByKind, Class, Decomposition, Process, Profile, Residence, Segment, printable,
};

/// What is known of heaps beside what is live.
#[derive(Clone, Copy, Default)]
pub(super) struct Heaps {
    /// Whether the allocator's own account divides them.
    pub is_split: bool,
    /// Whether some of it comes from before a fork.
    pub is_inherited: bool,
}

impl Heaps {
    pub(super) fn of(profile: &Profile, decomposition: &Decomposition) -> Self {
        let is_known = |class| decomposition.of(class) > 0;
        Self {
            is_split: [Class::Overhead, Class::Free].into_iter().any(is_known),
            is_inherited: profile
                .processes
                .iter()
                .any(|process| process.amounts.inherited.bytes > 0),
        }
    }

    const fn untraced(self) -> &'static str {
        match (self.is_split, self.is_inherited) {
            (true, true) => "from before a fork, or its allocation was not recorded",
            (true, false) => "its allocation was not recorded",
            (false, true) => "from before a fork, its allocation was not recorded, or it is free",
            (false, false) => "its allocation was not recorded, or it is free",
        }
    }
}

/// Of how many processes it is known what their RSS consists of.
pub(super) fn whose(profile: &Profile) -> String {
    let all = profile.processes.len();
    let known = profile.processes.iter().filter(|process| process.decomposition.is_some()).count();
    match all {
        0 | 1 => String::new(),
        _ if known == all => " of all processes".into(),
        _ => format!(" of {known} of {all} processes"),
    }
}

/// A class, and what it means where the name alone does not tell.
pub(super) fn label(class: Class, heaps: Heaps) -> (&'static str, &'static str) {
    match class {
        Class::Live => ("live: asked for and not released", ""),
        Class::Overhead => ("the allocator's own: headers, rounding", ""),
        Class::Free => ("free, kept by the allocator", ""),
        Class::Untraced => ("heap, not traced", heaps.untraced()),
        Class::Data => ("written pages of files: data of programs, private copies", ""),
        Class::File => ("files: code, constants, mapped data", ""),
        Class::Shared => ("shared memory", ""),
        Class::Stacks => ("stacks of threads", ""),
        Class::Other => ("the kernel's own mappings", ""),
    }
}

/// Why no class explains the rest.
pub(super) const REMAINDER: &str = "the kernel counts in batches";

/// What must be known besides the classes; a sentence each.
pub(super) fn remarks(decomposition: &Decomposition) -> Vec<String> {
    let Decomposition { absent, swapped, huge, transparent, moved, .. } = *decomposition;
    let mut remarks = Vec::new();
    let mut say = |bytes: u64, what: &str| {
        if bytes > 0 {
            remarks.push(format!("{} {what}.", Size(bytes)));
        }
    };
    say(absent, "of the live memory is not resident: never touched, returned, or swapped out");
    say(swapped, "is swapped out and no part of the RSS");
    say(transparent, "is on transparent huge pages: 2 MiB become resident at the first touch");
    say(huge, "is on hugetlbfs and no part of the RSS");
    if moved > decomposition.resident / 100 {
        say(moved, "is by how much the RSS changed while it was looked at");
    }
    remarks
}

/// That the sum over processes is more than the memory that they have.
fn counted_in_each(profile: &Profile) -> Option<String> {
    let with_memory = profile.processes.iter().filter(|process| process.rss_bytes > Some(0));
    (with_memory.count() > 1).then(|| {
        "What several processes share counts in each of them: memory from before a fork, files, \
         shared memory."
            .to_owned()
    })
}

/// What must be known of the sum over all processes; a sentence each.
pub(super) fn of_all(profile: &Profile) -> Vec<String> {
    counted_in_each(profile).into_iter().chain(unknown_live(profile)).collect()
}

/// What is not known of a process whose probes were taken off.
fn unknown_live(profile: &Profile) -> Option<String> {
    let is_shed = profile.processes.iter().any(|process| process.shed.is_some());
    let remark = "Since probes were taken off, it is not known what is live: it is part of the heap, not traced.";
    is_shed.then(|| remark.to_owned())
}

/// What a line holds, what of its touches is in memory, how much of that is shared, and what it has
/// released.
pub(super) const fn columns(amounts: &Amounts) -> [u64; 4] {
    let released = amounts.allocated.bytes.saturating_sub(amounts.live.bytes);
    [amounts.live.bytes, amounts.resident.bytes, amounts.shared.bytes, released]
}

/// How certain it is whose the resident memory is; a sentence each.
pub(super) fn doubts(profile: &Profile) -> Vec<String> {
    let known = profile.processes.iter().filter_map(|process| process.residence);
    let known: Vec<_> = known.collect();
    let sum = |of: fn(&Residence) -> u64| known.iter().map(of).fold(0, u64::saturating_add);
    let total = sum(Residence::sum);
    let mut doubts: Vec<_> = counted_in_each(profile).into_iter().collect();
    let mut say = |bytes: u64, what: &str| {
        if bytes > 0 {
            let share = Share(bytes, total).to_string();
            doubts.push(format!("{} of it, {}, {what}.", Size(bytes), share.trim()));
        }
    };
    say(
        sum(|known| known.held),
        "count for whoever allocated the live block there: not every touch is recorded where there are \
         many",
    );
    say(
        sum(|known| known.nearest),
        "count for whoever touched the nearest page of the same mapping: not every touch is \
         recorded where there are many, and the kernel maps pages of files without one",
    );
    say(sum(|known| known.mapped), "count for whoever mapped them: no touch was recorded");
    say(sum(|known| known.unknown), "are not attributed");
    if known.iter().any(|known| !known.is_measured) {
        doubts.push(
            "Of processes that have ended it is an estimate: the most that they had in their last \
             two seconds, looked at ten times a second, divided by what they had mapped and not given back; what was seen to \
             be touched first, then what lies near, then the rest."
                .to_owned(),
        );
    }
    doubts
}

/// All classes in a sentence.
pub(super) fn sentence(profile: &Profile) -> Option<String> {
    let decomposition = profile.decomposition()?;
    let part = |part: &crate::profile::Part| {
        let (name, _) = label(part.class, Heaps::of(profile, &decomposition));
        let name = name.split(':').next().unwrap_or(name);
        format!("{} {name}", Size(part.bytes))
    };
    let parts: Vec<_> = decomposition.parts.iter().map(part).collect();
    Some(format!("RSS {} = {}.", Size(decomposition.resident), parts.join(" + ")))
}

/// What was resident when most was live.
pub(super) fn at_peak(process: &Process) -> Option<String> {
    let AtPeak { resident, distance, before } = process.at_peak?;
    let rss = Size(resident.sum());
    let when = if before { "before" } else { "after" };
    Some(format!(
        "RSS then: {rss} ({}), seen {} {when} the peak.",
        kinds(&resident),
        near(distance)
    ))
}

fn kinds(resident: &ByKind) -> String {
    let ByKind { anonymous, shared, file } = *resident;
    let [anonymous, shared, file] = [anonymous, shared, file].map(Size);
    format!("{anonymous} anonymous, {file} of files, {shared} shared")
}

fn near(distance: Duration) -> String {
    if distance < Duration::from_millis(1) {
        "less than 1 ms".into()
    } else {
        Elapsed(distance).to_string()
    }
}

/// Name of a segment and who has it mapped.
pub(super) fn segment(profile: &Profile, segment: &Segment) -> (String, String) {
    let pids = segment.users.iter().filter_map(|user| profile.processes.get(user.process as usize));
    let pids: Vec<_> = pids.map(|process| process.pid.to_string()).collect();
    let inexact = if segment.exact { "" } else { ", at least: not counted page by page" };
    let users = match &*pids {
        [pid] => format!("process {pid}"),
        [..] if pids.len() > 8 => format!("{} processes", pids.len()),
        _ => format!("processes {}", pids.join(", ")),
    };
    (printable(&segment.name), format!("{users}{inexact}"))
}

/// What the segments are together, and how often that is in the RSS of the processes.
pub(super) fn segments(profile: &Profile) -> Option<String> {
    let sum = |bytes: &mut dyn Iterator<Item = u64>| bytes.fold(0, u64::saturating_add);
    let once = sum(&mut profile.segments.iter().map(|segment| segment.resident));
    let users = profile.segments.iter().flat_map(|segment| &segment.users);
    let counted = sum(&mut users.map(|user| user.resident));
    (counted > once).then(|| {
        let (once, counted) = (Size(once), Size(counted));
        format!("Together {once}, each page once; the RSS above counts {counted}.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example;

    #[test]
    fn of_several_processes_it_is_said_that_what_they_share_counts_in_each() {
        let mut profile = example::profile();
        assert_eq!(counted_in_each(&profile), None, "of one of them no memory is known");
        profile.processes[1].rss_bytes = Some(4096);
        let said = counted_in_each(&profile).unwrap();
        assert!(doubts(&profile).contains(&said) && of_all(&profile).contains(&said));
    }

    #[test]
    fn memory_from_before_a_fork_is_not_said_to_have_been_allocated_untraced_only() {
        let mut profile = example::profile();
        let decomposition = profile.decomposition().unwrap();
        let mut meaning = |inherited| {
            profile.processes[0].amounts.inherited.bytes = inherited;
            label(Class::Untraced, Heaps::of(&profile, &decomposition)).1
        };
        assert!(!meaning(0).contains("fork"));
        assert!(meaning(4096).contains("from before a fork"));
    }
}
