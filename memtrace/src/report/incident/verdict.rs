//! Who is to blame for a want of memory, as far as growth tells.

use std::time::Duration;

use super::{Elapsed, growth};
use crate::profile::{Incident, Member};

/// Names of processes that grew alike.
const NAMES: usize = 3;
/// Who was first seen no longer ago has hardly been seen.
const HARDLY: Duration = Duration::from_secs(1);

/// Who took the last of it, if those are not all that took most of it; else who took most.
pub(super) fn verdict(incident: &Incident) -> String {
    let (last, most) = (incident.grew_last(), incident.grew_most());
    let are_others = last.len() != most.len() || most.iter().any(|one| !last.contains(one));
    if are_others && !last.is_empty() {
        let grown = grown(&last, |member| member.lately);
        return blame(incident, &last, &format!("grew last, {grown} in the last seconds"));
    }
    if most.is_empty() {
        return nobody(incident);
    }
    blame(incident, &most, &format!("grew most, {}", grown(&most, |member| member.grown)))
}

fn grown(members: &[&Member], growth_of: impl Fn(&Member) -> i64) -> String {
    let amounts = members.iter().take(NAMES).map(|member| growth(growth_of(member)));
    amounts.collect::<Vec<_>>().join(", ")
}

fn blame(incident: &Incident, grew: &[&Member], how: &str) -> String {
    let names: Vec<_> = grew.iter().take(NAMES).map(|member| member.text()).collect();
    let names = names.join(", ");
    let victim = incident.members.iter().find(|member| incident.is_victim(member));
    let Some(victim) = victim.filter(|_| incident.cause.is_kill()) else {
        return format!("{names} {how}.");
    };
    match grew {
        [one] if incident.is_victim(one) => format!("{names} itself {how}.{}", inherited(one)),
        many if many.contains(&victim) && many.iter().all(|member| is_flat(member)) => {
            format!(
                "{names} {how}, but not in the last seconds: who took the last of it was not seen."
            )
        }
        many if many.contains(&victim) => format!("{names} {how}: it was not one of them alone."),
        others => format!("{names} {how}; {}", part(victim, others)),
    }
}

fn is_flat(member: &Member) -> bool {
    member.lately < member.grown / 100
}

/// The victim's part, where others stand out.
fn part(victim: &Member, others: &[&Member]) -> String {
    let (name, grown) = (victim.text(), growth(victim.grown));
    if others.iter().all(|other| victim.grown <= other.grown / 2) {
        return format!("{name} grew by {grown}: the victim is not the culprit.");
    }
    format!("{name} grew by {grown}, of which {} then.", growth(victim.lately))
}

/// Nobody can tell what a process that began a moment ago has from its parent.
fn inherited(victim: &Member) -> String {
    let is_new = victim.grown > 0 && victim.grown.unsigned_abs() == victim.resident;
    let began = Elapsed(victim.over);
    let text =
        || format!(" It began at most {began} before: what it had from its parent is part of it.");
    is_new.then(text).unwrap_or_default()
}

fn nobody(incident: &Incident) -> String {
    let victim = incident.members.iter().find(|member| incident.is_victim(member));
    let is_new = |member: &&Member| member.over < HARDLY && incident.cause.is_kill();
    victim.filter(is_new).map_or_else(
        || "Nobody grew by much in the last minute.".into(),
        |victim| format!("{} had hardly been seen: who grew is not known.", victim.text()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In MiB.
    fn member(pid: u32, resident: u64, grown: i64, lately: i64) -> Member {
        let [grown, lately] = [grown, lately].map(|growth| growth << 20);
        let (comm, resident) = ("python3".into(), resident << 20);
        Member { pid, comm, resident, grown, lately, ..Member::default() }
    }

    fn of_victim_7(members: Vec<Member>) -> String {
        verdict(&Incident { pid: 7, members, ..Incident::default() })
    }

    #[test]
    fn growth_that_does_not_matter_is_no_verdict() {
        let mut members = vec![member(7, 20, 0, 0), member(8, 4, 0, 0)];
        let text = of_victim_7(members.clone());
        assert!(text.ends_with("had hardly been seen: who grew is not known."), "{text}");
        members[0].over = Duration::from_secs(9);
        assert_eq!(of_victim_7(members), "Nobody grew by much in the last minute.");
    }

    #[test]
    fn the_victim_is_told_from_who_grew_most() {
        let text = of_victim_7(vec![member(7, 20, 10, 10), member(8, 4, 0, 0)]);
        assert_eq!(text, "python3 (7) itself grew most, +10.0 MiB.");
        let text = of_victim_7(vec![member(7, 20, 10, 0), member(8, 30, 20, 0)]);
        assert!(text.ends_with("grew by +10.0 MiB: the victim is not the culprit."), "{text}");
    }

    #[test]
    fn those_that_grew_alike_are_no_culprits() {
        let text = of_victim_7(vec![member(8, 110, 101, 9), member(7, 110, 100, 9)]);
        assert_eq!(
            text,
            "python3 (8), python3 (7) grew most, +101 MiB, +100 MiB: it was not one of them alone."
        );
        let text = of_victim_7(vec![member(8, 110, 101, 0), member(7, 110, 100, 0)]);
        assert!(text.ends_with("who took the last of it was not seen."), "{text}");
    }

    #[test]
    fn who_took_the_last_of_it_is_named() {
        let flat = [7, 8, 9].map(|pid| member(pid, 110, 100, 0));
        let text = of_victim_7([&flat[..], &[member(6, 82, 72, 72)]].concat());
        assert_eq!(
            text,
            "python3 (6) grew last, +72.0 MiB in the last seconds; python3 (7) grew by +100 MiB, of \
             which +0 B then."
        );
    }

    #[test]
    fn a_victim_that_was_new_may_have_had_it_from_its_parent() {
        let over = Duration::from_millis(700);
        let new = Member { over, ..member(7, 243, 243, 243) };
        let text = of_victim_7(vec![new, member(8, 76, 0, 0)]);
        assert_eq!(
            text,
            "python3 (7) itself grew most, +243 MiB. It began at most 700 ms before: what it had from \
             its parent is part of it."
        );
    }
}
