//! What a reader must know besides the numbers, in words: shared by every format for people.

use std::{collections::HashSet, time::Duration};

use crate::profile::{Amount, Frame, Process, Profile, View, printable, printable_sentence};

use super::{
    resident, shedding,
    units::{Count, Elapsed, Share, Size, Things},
};

/// Stands for stacks without any frame.
pub(super) const NO_FRAME: &str = "[no frame known]";

/// `python3 (4242): live memory, 1.23 GiB in 4,567 objects`.
pub(super) fn title(profile: &Profile, view: View) -> String {
    let total = profile.total(view);
    let subject = subject(profile);
    let memory = match view {
        View::Live => "live memory",
        View::Peak => "memory at its peak",
        View::Allocated => "memory allocated, released or not",
        View::Resident => "resident memory, by who touched it first",
        View::Fragmentation => "free memory, by the blocks that keep it resident",
        View::Inherited => "memory that forked processes had from their parents",
    };
    let (objects, unit) = (Count(total.objects), unit(view));
    format!("{subject}: {memory}, {} in {objects} {unit}", Size(total.bytes))
}

/// Why lines at the peaks of several processes may add up to more than was ever there.
pub(super) const SEVERAL_PEAKS: &str = "Each process is shown at its own peak. The peaks need not \
                                        have been at the same time: all together had at most what \
                                        is said to be the peak.";

/// What objects are in a view.
pub(super) const fn unit(view: View) -> &'static str {
    if matches!(view, View::Resident) { "pages" } else { "objects" }
}

/// The process, or how many.
pub(super) fn subject(profile: &Profile) -> String {
    match &*profile.processes {
        [process] => process.text(),
        processes => format!("{} processes", processes.len()),
    }
}

/// When, where and how it was measured, in a line.
pub(super) fn circumstances(profile: &Profile, view: View) -> String {
    let session = &profile.session;
    let mut parts = vec![traced(profile)];
    let peak = profile.processes.iter().filter_map(|process| process.peak_at);
    if let (View::Peak, [_]) = (view, &*profile.processes) {
        parts.extend(peak.map(|time| format!("peak at {}", Elapsed(time))));
    }
    // Of several, those that have ended were not all seen at the same moment.
    let is_alone = profile.processes.len() == 1;
    let counts =
        |process: &&Process| process.ended.is_none() || is_alone || profile.incident.is_some();
    if let Some(rss) = rss(profile.processes.iter().filter(counts)) {
        let is_past = is_alone && profile.processes.iter().any(|process| process.ended.is_some());
        let when = if is_past && profile.incident.is_none() { " in its last 2 s" } else { "" };
        parts.push(format!("RSS {}{when}", Size(rss)));
    }
    if let [Process { highest_rss_bytes: Some(highest), .. }] = &*profile.processes {
        parts.push(format!("at most {}", Size(*highest)));
    }
    if view == View::Fragmentation {
        parts.extend(unseen(profile));
    }
    if session.sample_interval_bytes > 0 {
        let interval = Size(session.sample_interval_bytes);
        parts.push(format!("estimated from one sample per {interval}"));
    }
    if !session.host.is_empty() {
        parts.push(format!("on {}", printable(&session.host)));
    }
    parts.extend(lost(profile, view));
    parts.join(" · ")
}

/// How long, of a single process its own time.
fn traced(profile: &Profile) -> String {
    let duration = profile.session.duration;
    let [process] = &*profile.processes else {
        return format!("traced for {}", Elapsed(duration));
    };
    let waited = process.began >= Duration::from_secs(1);
    let from = if waited { format!(", from {} on", Elapsed(process.began)) } else { String::new() };
    let until = if process.ended.is_some() { ", until it ended" } else { "" };
    format!("traced for {}{from}{until}", Elapsed(process.traced(duration)))
}

/// How much is missing, in a word; the caveats have the rest.
fn lost(profile: &Profile, view: View) -> Option<String> {
    let coverage = profile.coverage(view);
    let incomplete = coverage.incomplete.bytes;
    let times = profile.losses.iter().fold(0_u64, |sum, loss| sum.saturating_add(loss.count));
    let mut parts = Vec::new();
    if incomplete > 0 {
        parts.push(format!("frames missing in {}", Share(incomplete, coverage.stacks.bytes)));
    }
    if times > 0 {
        parts.push(Things(times, "loss").to_string());
    }
    (!parts.is_empty()).then(|| parts.join(" · "))
}

/// What limits the numbers' meaning, most important first; one sentence or two each.
pub(super) fn caveats(profile: &Profile, view: View) -> Vec<String> {
    let mut caveats = Vec::new();
    caveats.extend(unsymbolized(profile));
    caveats.extend(past(profile, view));
    caveats.extend(shedding::remarks(profile));
    caveats.extend(resident_at_peak(profile, view));
    if view == View::Resident {
        caveats.extend(resident::doubts(profile));
    }
    caveats.extend(untraced(profile, view));
    caveats.extend(heaps(profile, view));
    caveats.extend(several_peaks(profile, view));
    caveats.extend(uncovered(profile, view));
    caveats.extend(losses(profile));
    caveats.extend(unknown_releases(profile));
    caveats.extend(inlined(profile));
    caveats.extend(failures(profile));
    caveats.extend(profile.notes.iter().map(|note| printable_sentence(note)));
    caveats
}

/// What the probes cost the traced processes.
pub(super) fn cost(profile: &Profile) -> Option<String> {
    let cost = &profile.session.cost;
    if cost.hits() == 0 {
        return None;
    }
    let share = match cost.share() {
        None => String::new(),
        // Of processes that end between two looks not all time is seen.
        Some(share) if share > 1.0 => {
            ", more than was seen of the CPU time of what was traced".into()
        }
        Some(share) => format!(", {:.1} % of the CPU time of what was traced", 100.0 * share),
    };
    let time = match cost.time() {
        time if time < Duration::from_millis(1) => "less than 1 ms".into(),
        time => format!("about {}", Elapsed(time)),
    };
    let slow = cost.probes.iter().filter(|probe| probe.slow && probe.hits > 0);
    let slow = slow.map(|probe| {
        let microseconds = Duration::from_nanos(probe.nanoseconds_per_hit).as_secs_f64() * 1e6;
        format!(" Slow: {}, {microseconds:.1} us per hit.", printable(&probe.name))
    });
    let slow: String = slow.collect();
    Some(format!("Probes: {} hits took {time}{share}.{slow}", Count(cost.hits())))
}

fn unsymbolized(profile: &Profile) -> Option<String> {
    let addresses = "Native frames show addresses: the run ended before symbols were looked up.";
    (!profile.session.symbolized).then(|| addresses.into())
}

/// Live memory of processes that are gone.
fn past(profile: &Profile, view: View) -> Option<String> {
    let past = profile.past().filter(|_| view == View::Live)?;
    let ended = profile.gone().count();
    let whose = if ended == 1 {
        "a process that has ended".into()
    } else {
        format!("{ended} processes that have ended")
    };
    let size = Size(past.bytes);
    Some(format!("{size} of what is called live was held by {whose}, at the end; it is gone."))
}

/// Resident memory that tracing knows nothing of, where there is no better account of it.
fn untraced(profile: &Profile, view: View) -> Option<String> {
    if profile.decomposition().is_some() {
        return None;
    }
    // Of a process that has ended, both were not known at the same moment.
    let running = || profile.processes.iter().filter(|process| process.ended.is_none());
    let rss = rss(running()).filter(|_| view == View::Live)?;
    let measured = running().filter(|process| process.rss_bytes.is_some());
    let live = measured.map(|process| process.amounts.live).sum::<Amount>().bytes;
    let (size, resident) = (Size(live), Size(rss));
    let have_all = running().count() == profile.processes.len();
    let whose = if have_all { "" } else { " of those that still run" };
    Some(if live > rss {
        format!(
            "{size} live is more than RSS {resident}{whose}: some was never touched or is swapped out."
        )
    } else {
        let rest = Size(rss - live);
        format!(
            "{rest} of RSS {resident}{whose} is not in the stacks: memory from before tracing began, \
             mapped memory such as that of small Python objects, code, thread stacks, and free \
             memory that the allocator keeps."
        )
    })
}

/// What is to be said of the heaps that the view is about.
fn heaps(profile: &Profile, view: View) -> Vec<String> {
    if view != View::Fragmentation {
        return Vec::new();
    }
    let looked_at =
        profile.processes.iter().filter_map(|process| Some((process, process.heap.as_ref()?)));
    let remarks: Vec<_> = looked_at
        .flat_map(|(process, heap)| heap.remarks.iter().map(|remark| (process.text(), remark)))
        .map(|(process, remark)| format!("{process}: {}", printable_sentence(remark)))
        .collect();
    if remarks.is_empty() {
        return vec!["No heap was looked at while this was traced.".into()];
    }
    remarks
}

/// How much of the view is charged to blocks that nobody was seen to allocate.
fn unseen(profile: &Profile) -> Option<String> {
    let is_origin = |frame: &u32| matches!(profile.frames[*frame as usize], Frame::Origin { .. });
    let unseen = profile.stacks.iter().filter(|stack| stack.frames.iter().any(is_origin));
    let unseen = unseen.map(|stack| stack.amounts.fragmentation).sum::<Amount>().bytes;
    let total = profile.total(View::Fragmentation).bytes;
    let why = if profile.session.detail == "rss" { ": --detail rss records none" } else { "" };
    let share = Share(unseen, total);
    (total > 0).then(|| format!("{share} pinned by blocks without a stack{why}"))
}

fn several_peaks(profile: &Profile, view: View) -> Option<String> {
    (view == View::Peak && profile.processes.len() > 1).then(|| SEVERAL_PEAKS.into())
}

fn resident_at_peak(profile: &Profile, view: View) -> Vec<String> {
    let name = |process: &Process| match &*profile.processes {
        [_] => String::new(),
        _ => format!("{}: ", process.text()),
    };
    let processes = profile.processes.iter().filter(|_| view == View::Peak);
    processes
        .filter_map(|process| Some(format!("{}{}", name(process), resident::at_peak(process)?)))
        .collect()
}

fn uncovered(profile: &Profile, view: View) -> Vec<String> {
    let coverage = profile.coverage(view);
    let incomplete = coverage.incomplete.bytes;
    let lost = coverage.counted.bytes.saturating_sub(coverage.stacks.bytes);
    let mut parts = Vec::new();
    if incomplete > 0 {
        let share = Share(incomplete, coverage.stacks.bytes);
        parts.push(format!(
            "{share} of the bytes ({}) have stacks with frames missing: see [incomplete ...].",
            Size(incomplete)
        ));
    }
    if lost > 0 {
        let share = Share(lost, coverage.counted.bytes);
        parts.push(format!(
            "{share} of the bytes ({}) have no stack and are not shown.",
            Size(lost)
        ));
    }
    parts
}

fn losses(profile: &Profile) -> impl Iterator<Item = String> {
    profile.losses.iter().filter(|loss| loss.count > 0).map(|loss| {
        format!("{} {} ({}).", Count(loss.count), printable(&loss.what), printable(&loss.advice))
    })
}

fn failures(profile: &Profile) -> Option<String> {
    let failures = profile.processes.iter().map(|process| process.calls.failures);
    let failures = failures.fold(0, u64::saturating_add);
    (failures > 0)
        .then(|| format!("{} allocations failed: no memory was returned.", Count(failures)))
}

/// Releases of what was never recorded, where they are many; when sampled, most are.
fn unknown_releases(profile: &Profile) -> Option<String> {
    let calls = || profile.processes.iter().map(|process| process.calls);
    let unknown = calls().map(|calls| calls.unknown_releases).fold(0, u64::saturating_add);
    let known = calls().map(|calls| calls.releases).fold(0, u64::saturating_add);
    let all = known.saturating_add(unknown);
    let is_notable = unknown >= 100 && unknown >= all / 10;
    (is_notable && profile.session.sample_interval_bytes == 0).then(|| {
        let has_lost = profile.losses.iter().any(|loss| loss.count > 0);
        format!(
            "{} of {} releases were of memory that was not recorded: it is from before tracing \
             began, or was allocated by a function that is not traced{}.",
            Count(unknown),
            Count(all),
            if has_lost { ", or is among the losses" } else { "" }
        )
    })
}

/// That a jemalloc has taken much memory outside of the calls that are seen.
fn inlined(profile: &Profile) -> Option<String> {
    // It grows, as `je_pages_map` with a prefix. Without calls it takes some megabytes for itself.
    const OWN: u64 = 8 << 20;
    let grows = |frame: &Frame| match frame {
        Frame::Native { symbol: Some(symbol), .. } => symbol.ends_with("je_pages_map"),
        _ => false,
    };
    let growing: HashSet<u32> =
        (0..).zip(&profile.frames).filter(|(_, frame)| grows(frame)).map(|(at, _)| at).collect();
    let stacks = profile.stacks.iter();
    let own = stacks.filter(|stack| stack.frames.iter().any(|frame| growing.contains(frame)));
    let bytes = own.map(|stack| stack.amounts.live.bytes).fold(0, u64::saturating_add);
    (bytes > OWN && bytes > profile.total(View::Live).bytes / 20).then(|| {
        format!(
            "{} of it was mapped by jemalloc, outside of the calls that are traced: a compiler has put its \
             functions into their callers, whose allocations and releases are not seen. It counts for who \
             made jemalloc grow, and stays.",
            Size(bytes)
        )
    })
}

/// Of all processes together, where known.
fn rss<'a>(processes: impl Iterator<Item = &'a Process>) -> Option<u64> {
    processes.filter_map(|process| process.rss_bytes).reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Amounts, Builder, Session};

    #[test]
    fn a_process_that_was_waited_for_has_its_own_time() {
        let [began, ended, duration] = [14, 27, 34].map(Duration::from_secs);
        let process = |ended| Process { began, ended, ..Process::default() };
        let told = |ended| {
            let session = Session { duration, ..Session::default() };
            traced(&Profile { session, processes: vec![process(ended)], ..Profile::default() })
        };
        assert_eq!(told(Some(ended)), "traced for 13.0 s, from 14.0 s on, until it ended");
        assert_eq!(told(None), "traced for 20.0 s, from 14.0 s on");
    }

    #[test]
    fn memory_that_only_an_allocator_is_seen_to_take_is_told_of() {
        let remark = |symbol: &str, bytes| {
            let mut builder = Builder::new(Session::default());
            let process = builder.add_process(Process::default());
            let frame = builder.intern(Frame::Native {
                symbol: Some(symbol.into()),
                module: None,
                address: 0,
                location: None,
            });
            let live = Amount { bytes, objects: 1 };
            builder.add_stack(process, vec![frame], Amounts { live, ..Amounts::default() });
            inlined(&builder.finish())
        };
        assert!(
            remark("duckdb_je_pages_map", 36 << 20)
                .is_some_and(|text| text.starts_with("36.0 MiB"))
        );
        assert_eq!(remark("duckdb_je_pages_map", 4 << 20), None, "of its own");
        assert_eq!(remark("duckdb_je_malloc", 36 << 20), None);
    }
}
