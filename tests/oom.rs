//! What is left of a process that was killed.

/// Many kills, and kills by others than the kernel.
mod kills;
/// What the recorder itself survives.
mod survival;

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::support::{
    cgroup::Cgroup,
    memtrace,
    observe::patience,
    recorder::{FILES, Recorder},
    report::Report,
    workload::{Workload, main_python, source},
};

const MIB: u64 = 1 << 20;

/// The program that grows on two lines.
fn growing() -> Workload {
    Workload::python(&main_python(), "growing")
}

/// The share of the live memory that a function took, in percent.
fn share(report: &Report, function: &str) -> f64 {
    let (bytes, _) = report.within("live", function);
    100.0 * bytes as f64 / report.total("live").0 as f64
}

/// Fails unless the two lines have their shares, by name, file and line.
#[track_caller]
fn assert_lines(report: &Report) {
    let (tiles, trails) = (share(report, "keep_tiles"), share(report, "keep_trails"));
    println!("the lines hold {tiles:.1} and {trails:.1} %");
    assert!((78.0..=82.0).contains(&tiles), "{tiles}");
    assert!((18.0..=22.0).contains(&trails), "{trails}");
    let lines = report.0["lines"].as_array().expect("lines");
    let [first, second, ..] = &lines[..] else { panic!("two lines: {lines:?}") };
    for (line, function) in [(first, "keep_tiles"), (second, "keep_trails")] {
        assert_eq!(line["function"], function);
        assert_eq!(line["file"], source("growing.py").to_str().expect("a plain path"));
        assert_eq!(line["line"], number_of(function));
    }
}

/// The line of the source in which a function takes memory.
fn number_of(function: &str) -> usize {
    let text = fs::read_to_string(source("growing.py")).expect("it is there");
    let definition = text.lines().position(|line| line.starts_with(&format!("def {function}")));
    definition.expect("it is defined there") + 2
}

/// A number of kB in the kernel's message about the kill, in bytes.
fn said(incident: &Value, name: &str) -> u64 {
    let log = incident["kernel_log"].as_array().expect("lines").iter();
    let mut lines = log.filter_map(Value::as_str);
    let line = lines.rfind(|line| line.contains("Killed process")).expect("it says so");
    let rest = line.split_once(&format!("{name}:")).expect("the number is there").1;
    1024 * rest.split("kB").next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number")
}

#[test]
fn a_killed_process_leaves_its_lines_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(200 * MIB);
    let mut victim = growing();
    let pid = victim.pid();
    group.add(pid);
    let mut recorder = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    recorder.expect_traced(&[pid]);
    victim.go();
    let (place, report) = recorder.report(pid);
    let seen = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    let incident = &report.0["incident"];
    let killed = u128::from(incident["at_millis"].as_u64().expect("a time"));
    println!("the report was there {} ms after the kill", seen - killed);
    // Two seconds; patience is a minute, or more on slower machines.
    assert!(seen - killed < patience().as_millis() / 30);
    for name in FILES {
        assert!(fs::metadata(place.join(name)).expect("it is there").len() > 0, "{name}");
    }
    assert_lines(&report);
    assert_eq!((&incident["cause"], &incident["pid"]), (&"out_of_memory".into(), &pid.into()));
    assert_eq!(incident["limit"]["group"]["path"], *group.path);
    assert_eq!(incident["limit"]["group"]["limit_bytes"], 200 * MIB);
    assert_what_was_in_use(&incident["limit"]);
    assert_eq!(incident["members"][0]["pid"], pid);
    let rss = incident["counted"]["rss_bytes"].as_u64().expect("the kernel counted it");
    let kernel =
        said(incident, "anon-rss") + said(incident, "file-rss") + said(incident, "shmem-rss");
    println!("RSS {rss}, as the kernel says {kernel}");
    assert!(rss.abs_diff(kernel) < kernel / 20, "{rss} of {kernel}");
    let points = report.0["timeline"]["live"].as_array().expect("points");
    let last = points.last().and_then(Value::as_u64);
    assert_eq!(last, Some(report.total("live").0), "the timeline goes up to the kill");
    assert_readable(folder.path(), &place);
}

#[test]
fn without_probes_what_was_resident_tells_the_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(200 * MIB);
    let mut victim = growing();
    let pid = victim.pid();
    group.add(pid);
    let scope = ["--cgroup", &group.path, "--detail", "rss"];
    let mut recorder = Recorder::start(folder.path(), &scope);
    recorder.expect_traced(&[pid]);
    victim.go();
    let (_, report) = recorder.report(pid);
    let [tiles, trails] =
        ["keep_tiles", "keep_trails"].map(|function| report.within("resident", function).0);
    let rss = report.0["incident"]["counted"]["rss_bytes"].as_u64().expect("the kernel counted it");
    let total = report.total("resident").0;
    println!("{tiles} and {trails} of {total}; RSS {rss}");
    let share = 100.0 * tiles as f64 / (tiles + trails) as f64;
    assert!((78.0..=82.0).contains(&share), "{share}");
    assert_eq!(total, rss);
    assert!(tiles + trails > rss / 2, "most of it is on the lines");
}

/// The group is empty when the report is written; what is told is from before.
#[track_caller]
fn assert_what_was_in_use(limit: &Value) {
    let group = &limit["group"];
    let bytes = |name: &str| group[name].as_u64().expect("it is known");
    println!("{} in use {} s before", bytes("usage_bytes"), limit["looked_before_seconds"]);
    assert!(bytes("usage_bytes") > 10 * MIB, "{limit}");
    assert!(!group["stat"].as_object().expect("memory.stat").is_empty(), "{limit}");
    assert!(bytes("peak_bytes") > 195 * MIB && group["kills"] == 1, "{limit}");
}

/// The report can be listed, shown, and drawn again.
#[track_caller]
fn assert_readable(folder: &Path, place: &Path) {
    let folder = folder.to_str().expect("a plain path");
    let name = place.file_name().and_then(|name| name.to_str()).expect("a plain name");
    let print = |words: &[&str]| {
        let output = memtrace::run(words.iter().chain(&["--output-dir", folder]));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(print(&["oom", "list"]).contains(name));
    let shown = print(&["oom", "show", name]);
    for words in
        ["was killed by the kernel: out of memory", "keep_tiles (growing.py:", "Limits to set"]
    {
        assert!(shown.contains(words), "{words} is missing: {shown}");
    }
    let recording = place.join("recording.memtrace");
    let advice = memtrace::run(["report", recording.to_str().expect("plain"), "--budget", "4GiB"]);
    let advice = String::from_utf8(advice.stdout).expect("text");
    assert!(advice.contains("of them fit into 4.00 GiB"), "{advice}");
}

#[test]
fn a_victim_in_namespaces_of_its_own_is_one_like_any_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let group = Cgroup::limited(150 * MIB);
    let mut unshare = Command::new("unshare");
    unshare.args(["--pid", "--mount", "--fork"]).arg(main_python()).arg(source("growing.py"));
    let mut victim = Workload::start(&mut unshare);
    let pid = child_of(victim.pid());
    group.add(pid);
    let mut recorder = Recorder::start(folder.path(), &["--cgroup", &group.path]);
    recorder.expect_traced(&[pid]);
    victim.go();
    let (_, report) = recorder.report(pid);
    assert_lines(&report);
    assert_eq!(report.0["incident"]["cgroup"], *group.path);
}

fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("the process lives");
    children.trim().parse().expect("one child")
}
