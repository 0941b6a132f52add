//! The recorder goes on, whatever happens to it and to the machine.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    oom::{MIB, assert_lines, growing},
    support::{
        cgroup::Cgroup,
        observe::{cycles, wait_until},
        recorder::{FILES, Recorder, reports},
        workload::{Workload, compile},
    },
};

/// Every file of every report, with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let places = reports(folder).into_iter().map(|name| folder.join(name));
    let files = places.flat_map(|place| FILES.map(|name| place.join(name)));
    files.map(|file| (file.clone(), fs::read(&file).expect("a report is complete"))).collect()
}

#[test]
fn a_recorder_that_is_killed_loses_nothing_that_was_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(100 * MIB);
    let kill_one = |recorder: &mut Recorder| {
        let mut victim = growing();
        group.add(victim.pid());
        recorder.expect_traced(&[victim.pid()]);
        victim.go();
        assert_lines(&recorder.report(victim.pid()).1);
    };
    let mut first = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    kill_one(&mut first);
    let before = contents(folder.path());
    first.kill();
    let mut second = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    kill_one(&mut second);
    let after = contents(folder.path());
    assert_eq!((before.len(), after.len()), (FILES.len(), 2 * FILES.len()));
    assert!(before.iter().all(|(file, bytes)| after.get(file) == Some(bytes)));
}

#[test]
fn reports_make_room_for_newer_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(100 * MIB);
    let options = ["--cgroup", &group.path, "--keep", "2"];
    let mut recorder = Recorder::start(folder.path(), &options);
    let mut pids = Vec::new();
    for _ in 0..3 {
        let mut victim = growing();
        group.add(victim.pid());
        recorder.expect_traced(&[victim.pid()]);
        victim.go();
        recorder.report(victim.pid());
        pids.push(victim.pid());
    }
    // The newest is there a moment before the oldest goes.
    wait_until("the oldest is gone", || reports(folder.path()).len() <= 2);
    let names = reports(folder.path());
    assert!(names.last().expect("the newest stays").ends_with(&format!("-{}", pids[2])));
}

/// A minute of five hundred processes a second, fewer on a slower machine, and kills among them.
#[test]
fn short_lived_processes_by_the_hundred_cost_little_and_hide_no_kill() {
    const KILLS: usize = 6;
    let (rate, seconds) = (25 * cycles(), 3 * cycles());
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(60 * MIB);
    // None of what runs here is so large that it would be traced.
    let recorder = Recorder::start(folder.path(), &["--min-rss", "1TiB"]);
    let mut crowd = Command::new(compile("short_lived", &[]));
    let mut crowd = Workload::start(crowd.args([rate, seconds].map(|number| number.to_string())));
    let before = recorder.highest_resident();
    crowd.go();
    for _ in 0..KILLS {
        let mut victim = growing();
        group.add(victim.pid());
        victim.go();
        let (_, report) = recorder.report(victim.pid());
        assert!(report.0["incident"]["process"].is_null(), "it was not traced");
        assert_eq!(report.0["incident"]["limit"]["group"]["path"], *group.path);
    }
    let said = crowd.expect("done").join(" ");
    let started: u64 = said.trim_start_matches("sum started ").parse().expect("a number");
    let grown = recorder.highest_resident() - before;
    let account = recorder.stop();
    println!("{started} processes; memtrace grew by {} KiB\n{account}", grown >> 10);
    assert_eq!(started, u64::from(rate * seconds));
    assert!(grown < 32 * MIB, "{grown}");
    assert!(account.contains(&format!(" {KILLS} kills, {KILLS} reports")), "{account}");
    assert!(!account.contains("not told of"), "{account}");
}
