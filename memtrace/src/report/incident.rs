//! A kill in words: who, by whom, which limit, who else was there.

mod unseen;
mod verdict;

use jiff::Timestamp;

use super::{
    summary::page::Page,
    units::{Elapsed, Share, Size},
};
use crate::profile::{
    Cause, Counted, Evidence, Group, Incident, Limit, Member, Profile, printable,
};

/// The numbers of `memory.stat` that say most, under both versions' names.
const STAT: [(&str, &str, &str); 5] = [
    ("total_rss", "anon", "anonymous"),
    ("total_shmem", "shmem", "shared memory"),
    ("total_swap", "swap", "swapped"),
    ("slab", "slab", "slab"),
    ("kernel_stack", "kernel", "the kernel's"),
];

/// All of it in a line: what happened to whom.
#[must_use]
pub fn headline(incident: &Incident) -> String {
    let who = incident.text();
    let rss = incident.counted.map(|counted| format!(", RSS {}", Size(counted.resident.sum())));
    let rss = rss.unwrap_or_default();
    let limit = incident.limit.as_ref();
    match &incident.cause {
        Cause::OutOfMemory => {
            let limit = limit.map(|limit| format!(", {}", limit_text(&limit.group)));
            format!(
                "{who} was killed by the kernel: out of memory{}{rss}",
                limit.unwrap_or_default()
            )
        }
        Cause::Signal { pid: 0, .. } => format!("{who} was killed, by whom is not known{rss}"),
        Cause::Signal { pid, .. } if *pid == incident.pid => {
            format!("{who} was killed by itself{rss}")
        }
        Cause::Signal { pid, comm } => {
            format!("{who} was killed by {} ({pid}){rss}", printable(comm))
        }
        Cause::NearLimit | Cause::Pressure => {
            let why = if incident.cause == Cause::NearLimit { "near" } else { "memory is short: " };
            let group = limit.map(|limit| {
                let Group { working_set, .. } = limit.group;
                format!("{} of {}", Size(working_set), limit_text(&limit.group))
            });
            let group = group.unwrap_or_else(|| "a limit".into());
            format!("no kill yet, {why} {group}; the largest is {who}").replace("  ", " ")
        }
    }
}

/// What is not in the headline, in a line: when, where, and what was in use.
#[must_use]
pub fn brief(incident: &Incident) -> String {
    let limit = incident.limit.as_ref();
    let usage = limit.map(|limit| {
        format!("; limit: {}; {}", limit_sentence(limit), usage(limit, &incident.cause))
    });
    format!("{}{}", circumstances(incident), usage.unwrap_or_default())
}

/// `limit 300 MiB of /jobs`.
fn limit_text(group: &Group) -> String {
    let whose = if group.path == "/" { "the machine".into() } else { group_text(group) };
    let bytes =
        group.limit.map_or_else(|| "no limit".into(), |bytes| format!("limit {}", Size(bytes)));
    format!("{bytes} of {whose}")
}

/// `worker.service (/system.slice/worker.service)`.
fn group_text(group: &Group) -> String {
    let path = printable(&group.path);
    group.name().map_or_else(|| path.clone(), |name| format!("{} ({path})", printable(&name)))
}

/// The account of it, above everything else of a summary.
pub(super) fn write(incident: &Incident, profile: &Profile, page: &mut Page) {
    page.long_heading(&headline(incident));
    page.paragraph(&circumstances(incident), "  ");
    if let Some(counted) = incident.counted {
        page.paragraph(&kernel_numbers(&counted), "  ");
    }
    if let Some(text) = unseen::remark(incident, profile) {
        page.paragraph(&text, "  ");
    }
    if let Some(limit) = &incident.limit {
        page.blank();
        page.heading(&format!("Limit: {}", limit_sentence(limit)));
        page.paragraph(&usage(limit, &incident.cause), "  ");
    }
    members(incident, page);
    if !incident.log.is_empty() {
        page.blank();
        page.heading("The kernel's own words");
        incident.log.iter().for_each(|line| page.paragraph(&printable_line(line), "  "));
    }
    page.blank();
}

/// Lines of the kernel's log are cleaned when they are read, but recordings may come from anywhere.
fn printable_line(line: &str) -> String {
    line.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

fn circumstances(incident: &Incident) -> String {
    let millis = i64::try_from(incident.at_millis).unwrap_or(0);
    let time = Timestamp::from_millisecond(millis).unwrap_or_default();
    let mut parts = vec![time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()];
    parts.extend(
        incident
            .cgroup
            .as_ref()
            .map(|path| group_text(&Group { path: path.clone(), ..Group::default() })),
    );
    if !incident.command_line.is_empty() {
        parts.push(printable_line(&incident.command_line));
    }
    if incident.process.is_none() {
        parts.push("it was not traced: no stacks of it".into());
    }
    parts.join(" · ")
}

fn kernel_numbers(counted: &Counted) -> String {
    let Counted { resident, total, page_tables, oom_score_adj } = counted;
    format!(
        "The kernel counted: RSS {}, of which {} anonymous, {} shared, {} of files; page tables {}; \
         address space {}; oom_score_adj {oom_score_adj}.",
        Size(resident.sum()),
        Size(resident.anonymous),
        Size(resident.shared),
        Size(resident.file),
        Size(*page_tables),
        Size(*total),
    )
}

fn limit_sentence(limit: &Limit) -> String {
    let evidence = match limit.evidence {
        Evidence::Log => "as the kernel's log says",
        Evidence::Counter => "as the group's counter says",
        Evidence::Fullest => "probably: it was the fullest",
    };
    let bytes = limit.group.limit.map(|bytes| Size(bytes).to_string());
    let bytes = bytes.unwrap_or_else(|| "none".into());
    let whose =
        if limit.group.path == "/" { "the whole machine".into() } else { group_text(&limit.group) };
    format!("{bytes}, of {whose}, {evidence}")
}

fn usage(limit: &Limit, cause: &Cause) -> String {
    let group = &limit.group;
    let mut parts = vec![in_use(limit, cause)];
    let cache = (cache(group), "page cache");
    let counted =
        |(version_1, version_2, name)| (group.counted(version_1, version_2).unwrap_or(0), name);
    let [anonymous, others @ ..] = STAT.map(counted);
    let known = [anonymous, cache].into_iter().chain(others).filter(|(bytes, _)| *bytes > 0);
    parts.extend(known.map(|(bytes, name)| format!("{} {name}", Size(bytes))));
    parts.extend(group.peak.map(|peak| format!("at most {} ever", Size(peak))));
    if group.kills > 0 {
        parts.push(format!("{} killed so far", group.kills));
    }
    parts.join(" · ")
}

/// What was used is of a look, and the look is of some time before the kill.
fn in_use(limit: &Limit, cause: &Cause) -> String {
    let Limit { group, looked_before, .. } = limit;
    match group.was_seen() {
        false => "nobody looked at it before the kill: what was in use is not known".into(),
        true if cause.is_kill() => {
            format!("{} in use {} before the kill", Size(group.usage), Elapsed(*looked_before))
        }
        true => format!("{} in use", Size(group.usage)),
    }
}

fn members(incident: &Incident, page: &mut Page) {
    let members = &incident.members;
    if members.is_empty() {
        return;
    }
    let total: u64 = members.iter().map(|member| member.resident).fold(0, u64::saturating_add);
    page.blank();
    page.heading(&format!("Who held what{}", when(incident)));
    page.row("        RSS   share      grew        in", "");
    for member in members {
        let share = Share(member.resident, total).to_string();
        let (grown, over) = (growth(member.grown), Elapsed(member.over).to_string());
        let rss = Size(member.resident).to_string();
        let role = role(member, incident);
        page.row(&format!("  {rss:>9} {share:>7} {grown:>9} {over:>9}  "), &role);
    }
    if incident.more_members > 0 {
        page.row("  ", &format!("and {} more processes", incident.more_members));
    }
    page.paragraph(&verdict::verdict(incident), "  ");
    if let Some(elsewhere) = elsewhere(incident) {
        page.paragraph(&elsewhere, "  ");
    }
}

/// The others were not looked at when the victim was killed, but some time before.
fn when(incident: &Incident) -> String {
    let before = Elapsed(incident.looked_before);
    match incident
        .counted
        .is_some_and(|_| incident.members.iter().any(|one| incident.is_victim(one)))
    {
        _ if !incident.cause.is_kill() => String::new(),
        true if incident.members.len() == 1 => " at the kill".into(),
        true => format!(": the victim at the kill, the others up to {before} before"),
        false => format!(", up to {before} before"),
    }
}

fn growth(bytes: i64) -> String {
    let sign = if bytes < 0 { '-' } else { '+' };
    format!("{sign}{}", Size(bytes.unsigned_abs()))
}

fn role(member: &Member, incident: &Incident) -> String {
    let victim =
        if member.pid == incident.pid && incident.cause.is_kill() { ", killed" } else { "" };
    let traced = if member.process.is_none() { ", not traced" } else { "" };
    format!("{}{victim}{traced}", member.text())
}

/// Memory of the group that is in no process, or in several.
fn elsewhere(incident: &Incident) -> Option<String> {
    let limit = incident.limit.as_ref().filter(|limit| limit.group.was_seen())?;
    let (group, held) = (&limit.group, incident.resident()?);
    let usage = group.usage;
    // What was taken between the look at the group and the look at its processes is in one of these.
    let anonymous = group.counted("total_rss", "anon").unwrap_or(0);
    let outside = usage.saturating_sub(held.max(anonymous));
    if outside > usage / 2 {
        let kinds = [
            (cache(group), "page cache"),
            (shared(group), "files in memory (tmpfs, shared memory)"),
        ];
        let kinds = kinds.into_iter().filter(|(bytes, _)| *bytes > usage / 10);
        let kinds: Vec<_> = kinds.map(|(bytes, name)| format!("{} {name}", Size(bytes))).collect();
        let what = if kinds.is_empty() { "the kernel's".into() } else { kinds.join(", ") };
        let (outside, usage) = (Size(outside), Size(usage));
        return Some(format!("{outside} of the {usage} in use is in no process's RSS: {what}."));
    }
    let most = usage.max(group.limit.unwrap_or(usage + usage / 4));
    let files = "files that others have read before count for those others' groups.";
    (held > most).then(|| match (&*incident.members, Size(held), Size(usage)) {
        ([only], held, usage) => {
            format!("{} has {held}, more than the {usage} in use: {files}", only.text())
        }
        (_, held, usage) => format!(
            "They add up to {held}, more than the {usage} in use: what processes share, as forked ones do, \
             counts in each of them, and {files}"
        ),
    })
}

/// Files in memory that are on no disk.
fn shared(group: &Group) -> u64 {
    group.counted("total_shmem", "shmem").unwrap_or(0)
}

/// Both versions of control groups count shared memory as page cache.
fn cache(group: &Group) -> u64 {
    group.counted("total_cache", "file").unwrap_or(0).saturating_sub(shared(group))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::summary::Screen;

    #[test]
    fn two_lines_tell_what_is_known() {
        let group = Group { path: "/a".into(), limit: Some(300 << 20), ..Group::default() };
        let limit = Some(Limit { group, evidence: Evidence::Log, ..Limit::default() });
        let incident = Incident { pid: 7, limit, process: Some(0), ..Incident::default() };
        assert_eq!(
            brief(&incident),
            "1970-01-01 00:00:00 UTC; limit: 300 MiB, of /a, as the kernel's log says; nobody \
             looked at it before the kill: what was in use is not known"
        );
    }

    #[test]
    fn the_first_line_says_it_all() {
        let path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7f3c.slice";
        let group = Group { path: path.into(), limit: Some(300 << 20), ..Group::default() };
        let limit = Some(Limit { group, ..Limit::default() });
        let incident = Incident { comm: "python3".into(), pid: 7, limit, ..Incident::default() };
        let mut page = Page::new(Screen::default());
        write(&incident, &Profile::default(), &mut page);
        let whole =
            format!("python3 (7) was killed by the kernel: out of memory, limit 300 MiB of {path}");
        assert_eq!(page.text().lines().next(), Some(&*whole));
    }

    #[test]
    fn who_kills_itself_is_told_from_who_is_killed() {
        let signal = |by| {
            let cause = Cause::Signal { pid: by, comm: "python3".into() };
            let incident =
                Incident { pid: 7, comm: "python3".into(), cause, ..Incident::default() };
            headline(&incident)
        };
        assert_eq!(signal(7), "python3 (7) was killed by itself");
        assert_eq!(signal(8), "python3 (7) was killed by python3 (8)");
    }

    #[test]
    fn what_was_in_use_is_of_a_look_before_the_kill() {
        let stat = vec![("total_rss".to_owned(), 300 << 20)];
        let group = Group { usage: 310 << 20, peak: Some(400 << 20), stat, ..Group::default() };
        let looked_before = Duration::from_millis(193);
        let mut limit = Limit { group, looked_before, ..Limit::default() };
        assert_eq!(
            usage(&limit, &Cause::OutOfMemory),
            "310 MiB in use 193 ms before the kill · 300 MiB anonymous · at most 400 MiB ever"
        );
        assert!(usage(&limit, &Cause::NearLimit).starts_with("310 MiB in use · "));
        limit.group = Group { peak: Some(400 << 20), kills: 2, ..Group::default() };
        assert_eq!(
            usage(&limit, &Cause::OutOfMemory),
            "nobody looked at it before the kill: what was in use is not known · at most 400 MiB \
             ever · 2 killed so far"
        );
    }

    fn member(pid: u32, resident: u64, grown: i64) -> Member {
        Member { pid, comm: "python3".into(), resident, grown, ..Member::default() }
    }

    #[test]
    fn memory_of_no_process_is_told_of_once() {
        let stat = [("total_rss", 10), ("total_cache", 185), ("total_shmem", 180)];
        let stat = stat.map(|(name, mib)| (name.to_owned(), mib << 20)).into();
        let limit = Some(200 << 20);
        let group = Group { path: "/a".into(), limit, usage: 196 << 20, stat, ..Group::default() };
        let limit = Limit { group, ..Limit::default() };
        assert_eq!(
            usage(&limit, &Cause::NearLimit),
            "196 MiB in use · 10.0 MiB anonymous · 5.00 MiB page cache · 180 MiB shared memory"
        );
        let members = vec![member(7, 12 << 20, 0)];
        let mut incident = Incident { pid: 7, members, limit: Some(limit), ..Incident::default() };
        assert_eq!(
            elsewhere(&incident).unwrap(),
            "184 MiB of the 196 MiB in use is in no process's RSS: 180 MiB files in memory (tmpfs, \
             shared memory)."
        );
        incident.members = vec![member(7, 120 << 20, 0), member(8, 120 << 20, 0)];
        let text = elsewhere(&incident).unwrap();
        assert!(text.starts_with("They add up to 240 MiB, more than the 196 MiB in use"), "{text}");
        incident.members.pop();
        assert_eq!(elsewhere(&incident), None);
        incident.members = vec![member(7, 211 << 20, 0)];
        let text = elsewhere(&incident).unwrap();
        assert!(text.starts_with("python3 (7) has 211 MiB, more than the 196 MiB in use: files"));
    }
}
