//! Many kills at once, kills by others than the kernel, and victims who are not the culprit.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    oom::{MIB, assert_lines, growing},
    support::{
        cgroup::Cgroup,
        observe::{resident, wait_until},
        recorder::Recorder,
        workload::{Workload, main_python, source},
    },
};

#[test]
fn ten_victims_at_once_have_ten_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let parent = Cgroup::parent();
    let groups: Vec<_> =
        (0..10).map(|number| parent.child(&number.to_string(), 100 * MIB)).collect();
    let mut victims: Vec<_> = groups.iter().map(|_| growing()).collect();
    for (victim, group) in victims.iter().zip(&groups) {
        group.add(victim.pid());
    }
    let mut recorder = Recorder::start(folder.path(), &["--cgroup", &parent.path]);
    recorder.expect_traced(&victims.iter().map(Workload::pid).collect::<Vec<_>>());
    victims.iter_mut().for_each(Workload::go);
    for (victim, group) in victims.iter().zip(&groups) {
        let (_, report) = recorder.report(victim.pid());
        assert_lines(&report);
        assert_eq!(report.0["incident"]["limit"]["group"]["path"], *group.path);
    }
    let said = recorder.stop();
    assert!(said.contains(" 10 kills, "), "{said}");
}

/// Version 1 of control groups cannot; then the other one lives on.
#[test]
fn of_a_group_that_is_killed_as_one_each_has_a_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(200 * MIB);
    let is_one = group.kill_as_one();
    let mut victim = growing();
    let other = growing();
    let pids = [victim.pid(), other.pid()];
    for pid in pids {
        group.add(pid);
    }
    let mut recorder = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    recorder.expect_traced(&pids);
    victim.go();
    let (_, report) = recorder.report(pids[0]);
    let [tiles, trails] =
        ["keep_tiles", "keep_trails"].map(|function| report.within("live", function).0);
    assert!(trails > 20 * MIB && tiles.abs_diff(4 * trails) <= 8 * MIB, "{tiles} and {trails}");
    println!("killed as one: {is_one}");
    if is_one {
        let (_, report) = recorder.report(pids[1]);
        assert_eq!(report.0["incident"]["cause"], "out_of_memory");
        assert_eq!(report.0["incident"]["pid"], pids[1]);
    } else {
        assert!(resident(pids[1]) > 0, "it lives");
    }
    let said = recorder.stop();
    assert!(said.contains(if is_one { " 2 kills, " } else { " 1 kill, " }), "{said}");
}

#[test]
fn a_process_that_another_one_kills_has_a_report_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut victim = growing();
    let pid = victim.pid();
    let mut recorder = Recorder::start(folder.path(), &["--pid", &pid.to_string()]);
    recorder.expect_traced(&[pid]);
    let before = resident(pid);
    victim.go();
    wait_until("some growth", || resident(pid) > before + 100 * MIB);
    // SAFETY: the call takes two integers; the victim has not been waited for.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    let (_, report) = recorder.report(pid);
    assert_lines(&report);
    let incident = &report.0["incident"];
    assert_eq!(incident["cause"], "signal");
    assert_eq!(incident["killed_by"]["pid"], std::process::id());
    assert!(incident["counted"]["rss_bytes"].as_u64() > Some(20 * MIB), "{incident}");
}

#[test]
fn the_culprit_is_told_from_the_victim() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(400 * MIB);
    // Most has the one that does not grow; the kernel chooses it.
    let mut large = Workload::start(
        std::process::Command::new("python3")
            .arg("-c")
            .arg("print('ready', flush=True); input(); x = b'1' * (250 << 20); print('done', flush=True); input()"),
    );
    group.add(large.pid());
    large.work();
    // Whoever is younger than three seconds is taken to have grown all it has.
    thread::sleep(Duration::from_secs(4));
    let mut culprit = growing();
    group.add(culprit.pid());
    let mut recorder = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    recorder.expect_traced(&[large.pid(), culprit.pid()]);
    culprit.go();
    let (place, report) = recorder.report(large.pid());
    let summary = std::fs::read_to_string(place.join("summary.txt")).expect("it is there");
    let summary = summary.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(summary.contains("the victim is not the culprit"), "{summary}");
    assert!(summary.contains(&format!("({}) grew most", culprit.pid())), "{summary}");
    // What the culprit holds is in the report of its victim.
    assert!(report.within("live", "keep_tiles").0 > 20 * MIB);
}

#[test]
fn a_program_that_is_executed_is_observed_from_then_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(200 * MIB);
    let mut victim = Command::new("sh");
    victim.args(["-c", "echo ready; read line; exec \"$0\" \"$1\""]);
    let mut victim = Workload::start(victim.arg(main_python()).arg(source("growing.py")));
    let pid = victim.pid();
    group.add(pid);
    let started = Instant::now();
    let mut recorder = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    recorder.expect_traced(&[pid]);
    thread::sleep(Duration::from_secs(3));
    let before = started.elapsed();
    victim.go();
    victim.expect("ready");
    victim.go();
    let (_, report) = recorder.report(pid);
    let observed = report.0["session"]["duration_seconds"].as_f64().expect("a number");
    let since = started.elapsed().saturating_sub(before).as_secs_f64();
    println!("observed for {observed} s; {since} s ago it was another program");
    assert!(observed < since, "{observed} of {since}");
    let members = report.0["incident"]["members"].as_array().expect("members");
    assert!(members.iter().any(|member| member["pid"] == pid), "{members:?}");
    assert!(!report.0["notes"].to_string().contains("--follow"));
}
