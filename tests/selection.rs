//! Processes that are found by what they are called and where they belong, now and later.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::support::{
    memtrace::{Tracing, run},
    observe::wait_until,
    report::Report,
    workload::{Workload, compile},
};

/// A control group of the test's own; removed when dropped.
struct Group {
    folder: PathBuf,
    path: String,
}

impl Group {
    /// In version 1 below the memory controller, else in version 2.
    fn make(name: &str) -> Self {
        let path = format!("/memtrace-test-{}.slice/{name}.service", std::process::id());
        let memory = Path::new("/sys/fs/cgroup/memory");
        let mount = if memory.is_dir() { memory } else { Path::new("/sys/fs/cgroup") };
        let folder = mount.join(&path[1..]);
        fs::create_dir_all(&folder).expect("a control group");
        Self { folder, path }
    }

    fn add(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).expect("moved");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        wait_until("an empty group", || fs::remove_dir(&self.folder).is_ok());
        let _ = fs::remove_dir(self.folder.parent().expect("a parent"));
    }
}

#[test]
fn a_unit_is_traced_with_the_processes_that_start_later() {
    let group = Group::make("composite");
    let mut first = Workload::c("simple");
    group.add(first.pid());
    let mut tracing = Tracing::with(&["--unit", "composite", "--max-overhead", "unlimited"]);
    tracing.expect("memtrace: tracing process");
    let mut second = Workload::c("simple");
    group.add(second.pid());
    tracing.expect("memtrace: tracing process");
    first.work();
    second.work();
    let report = tracing.stop();
    report.assert_nothing_lost();
    assert_eq!(report.within("live", "keep"), (2 * 3000, 4));
    let pids = [first.pid(), second.pid()].map(Value::from);
    let traced: Vec<_> = processes(&report).iter().map(|process| process["pid"].clone()).collect();
    assert_eq!(traced, pids);
    assert!(processes(&report).iter().all(|process| process["place"] == "composite.service"));
    first.end();
    second.end();
}

#[test]
fn a_control_group_and_a_name_find_the_same_process() {
    let group = Group::make("tiles");
    let program = compile("simple", &[]);
    let mut workload = Workload::start(&mut Command::new(&program));
    group.add(workload.pid());
    let name = program.file_name().expect("a name").to_str().expect("UTF-8");
    for options in [["--cgroup", &group.path], ["--comm", name]] {
        let mut tracing = Tracing::with(&options);
        tracing.expect("memtrace: tracing process");
        let report = tracing.stop();
        assert_eq!(processes(&report)[0]["pid"], workload.pid(), "{options:?}");
        assert_eq!(processes(&report).len(), 1, "{options:?}");
    }
    workload.work();
    workload.end();
}

/// Both run for longer than a new process is looked at again and again.
#[test]
fn whoever_begins_to_fit_later_is_found() {
    let group = Group::make("late");
    let program = compile("simple", &[]);
    let name = program.file_name().expect("a name").to_str().expect("UTF-8");
    let mut shell = Command::new("sh");
    shell.args(["-c", "read line; exec $0"]).arg(&program);
    let mut becomes = shell.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a shell");
    let mut moves = Command::new("python3");
    moves.args(["-c", "print('ready', flush=True); input()"]);
    let moves = Workload::start(&mut moves);
    let mut tracing = Tracing::with(&["--comm", name, "--cgroup", &group.path]);
    thread::sleep(Duration::from_secs(5));
    becomes.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("the shell reads it");
    tracing.expect("memtrace: tracing process");
    group.add(moves.pid());
    tracing.expect("memtrace: tracing process");
    let report = tracing.stop();
    let found: Vec<_> = processes(&report).iter().map(|process| process["pid"].clone()).collect();
    assert_eq!(found, [becomes.id(), moves.pid()].map(Value::from));
    becomes.kill().and_then(|()| becomes.wait()).expect("the program ends");
}

#[test]
fn who_does_not_exist_yet_is_waited_for() {
    let tracing = Tracing::with(&["--unit", "memtrace-never-was", "--duration", "1s"]);
    let report = tracing.end();
    assert!(processes(&report).is_empty());
}

#[test]
fn all_processes_are_looked_at_without_probes() {
    let mut workload = Workload::c("simple");
    let folder = tempfile::tempdir().expect("a folder for the report");
    let file = folder.path().join("report.json");
    let seconds = Duration::from_secs(2).as_secs().to_string();
    let options = ["--all", "--quiet", "--duration", &seconds, "--output"];
    let output = run(options.iter().map(AsRef::as_ref).chain([file.as_os_str()]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = Report::read(&file);
    assert_eq!(report.0["session"]["detail"], "rss");
    let found = processes(&report).iter().any(|process| process["pid"] == workload.pid());
    assert!(found && processes(&report).len() > 2);
    workload.work();
}

/// More than there is room for, and each begins where another one has been.
#[test]
fn those_that_ended_make_room() {
    let mut crowd = Command::new(compile("short_lived", &[]));
    let mut crowd = Workload::start(crowd.args(["500", "10"]));
    let mut tracing = Tracing::with(&["--all"]);
    tracing.expect("memtrace: tracing process");
    let pid = tracing.pid();
    let working = thread::spawn(move || {
        crowd.go();
        crowd.expect("done");
        // SAFETY: the call takes two integers; memtrace has not been waited for.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGINT) };
    });
    let report = tracing.end();
    working.join().expect("all have been started");
    let texts = |list: &str| report.0[list].to_string();
    assert!(texts("notes").contains("processes that ended are left out"), "{}", texts("notes"));
    assert!(!texts("losses").contains("not followed"), "{}", texts("losses"));
    // Nobody has what another process had.
    let (live, _) = report.total("live");
    assert!(live < 1 << 36, "{live}");
}

fn processes(report: &Report) -> &[Value] {
    report.0["processes"].as_array().expect("processes")
}
