//! What a user sees: help, findings, progress on a terminal, reports and recordings.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Stdio};

use serde_json::Value;

use crate::support::{
    memtrace::{self, Tracing},
    observe::breakpoints,
    report::Report,
    terminal::Terminal,
    workload::{Workload, compile},
};

#[test]
fn help_version_and_findings_are_printed() {
    let help = memtrace::run(["--help"]);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(help.status.success() && help.stderr.is_empty());
    for part in ["Examples:", "memtrace --pid 4242", "-- python job.py", "Exit status", "--sample"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let version = memtrace::run(["--version"]);
    assert_eq!(version.stdout, concat!("memtrace ", env!("CARGO_PKG_VERSION"), "\n").as_bytes());
    let doctor = memtrace::run(["doctor"]);
    let text = String::from_utf8_lossy(&doctor.stdout);
    assert!(doctor.status.success(), "{text}");
    assert!(text.ends_with("\nmemtrace can trace on this machine.\n"), "{text}");
    let features = ::memtrace::kernel::probe_features().len();
    let count = |start| text.lines().filter(|line| line.starts_with(start)).count();
    let of_recorder = text.matches("for: memtrace oom: ").count();
    let found = count("ok ") + count("LIMITED ");
    // Two capabilities, the list of pages, and the pid namespace, of which there is no more to say.
    assert_eq!((found, count("MISSING")), (features + 4 + of_recorder, 0), "{text}");
    let explained = [count("         for: "), count("         without: ")];
    assert_eq!(explained, [found - 1; 2], "{text}");
}

#[test]
fn reports_from_a_recording_equal_the_direct_ones() {
    let mut simple = Workload::c("simple");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let kinds = ["svg", "html", "folded", "json", "pb.gz"];
    let mut direct: Vec<_> = kinds.iter().map(|kind| path(&format!("direct.{kind}"))).collect();
    direct.push(path("run.memtrace"));
    let mut options = vec!["--view", "peak"];
    options.extend(direct.iter().flat_map(|path| ["-o", path]));
    let tracing = Tracing::attach_with(simple.pid(), &options);
    simple.work();
    tracing.stop();
    let recorded = kinds.map(|kind| path(&format!("recorded.{kind}")));
    let mut arguments = vec!["report", &direct[5], "--view", "peak"];
    arguments.extend(recorded.iter().flat_map(|path| ["-o", path]));
    let output = memtrace::run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (direct, recorded) in direct.iter().zip(&recorded) {
        let [direct, recorded] = [direct, recorded].map(|path| fs::read(path).expect("written"));
        assert!(direct.len() > 100 && direct == recorded);
    }
    let folded = fs::read_to_string(&direct[2]).expect("written");
    assert_eq!(folded.lines().filter(|line| line.contains(";keep ")).count(), 3, "{folded}");
    let summary = memtrace::run(["report", &direct[5]]);
    assert!(String::from_utf8_lossy(&summary.stdout).contains("Live now, by line"));
}

#[test]
fn reports_belong_to_whoever_typed_sudo_and_to_nobody_else() {
    let simple = Workload::c("simple");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.svg");
    fs::write(&path, "old").expect("it is ours");
    let output = memtrace::command()
        .args(["--force", "-d", "100ms", "--pid", &simple.pid().to_string(), "-o"])
        .arg(&path)
        .env("SUDO_UID", "12345")
        .env("SUDO_GID", "12346")
        .output()
        .expect("memtrace starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    // No terminal, no progress: only that it begins.
    let begins = format!("memtrace: tracing process {} (simple", simple.pid());
    assert!(said.starts_with(&begins) && said.lines().count() == 1, "{said}");
    let file = fs::metadata(&path).expect("written");
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid()), (0o600, 12345, 12346));
    assert!(fs::read_to_string(&path).expect("written").starts_with("<?xml"));
}

#[test]
fn a_target_that_ends_is_reported_by_itself() {
    let mut simple = Workload::c("simple");
    let tracing = Tracing::attach(simple.pid());
    simple.work();
    assert_eq!(simple.end().code(), Some(0));
    let report = tracing.end();
    assert_eq!(report.within("live", "keep"), (3000, 2));
    let process = &report.0["processes"][0];
    assert!(process["ended_seconds"].is_number() && process["rss_bytes"].is_u64(), "{process}");
    assert_eq!(report.losses(), Vec::<String>::new());
}

#[test]
fn a_target_that_executes_another_program_is_followed() {
    let program = compile("simple", &[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "echo ready; read line; exec \"$0\""]).arg(program);
    let mut shell = Workload::start(&mut shell);
    let mut tracing = Tracing::attach(shell.pid());
    shell.go();
    shell.expect("ready");
    tracing.expect("memtrace: tracing process");
    shell.work();
    let report = tracing.stop();
    assert_eq!(report.within("live", "keep"), (3000, 2));
    let ended = report.0["processes"].as_array().expect("processes").iter();
    let ended: Vec<_> = ended.map(|process| process["ended_seconds"].is_number()).collect();
    assert_eq!(ended, [true, false]);
    assert_eq!(report.0["processes"][0]["comm"], "sh");
}

#[test]
fn a_second_interrupt_does_without_symbols() {
    let mut simple = Workload::c("simple");
    let mut tracing = Tracing::attach(simple.pid());
    simple.work();
    // Interrupts that come closer together than memtrace wakes up are one.
    while tracing.is_running() {
        tracing.signal(libc::SIGINT);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let report = tracing.end();
    assert_eq!(report.0["session"]["symbolized"], Value::Bool(false));
    assert_eq!(report.total("live"), (3000, 2));
    assert!(breakpoints(simple.pid()).is_empty());
}

#[test]
fn a_terminal_shows_progress_until_it_is_interrupted() {
    let mut simple = Workload::c("simple");
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("out.json");
    let words = format!("--verbose --pid {} -o {}", simple.pid(), json.display());
    let mut terminal = Terminal::memtrace(&words);
    terminal.wait_for("tracing process");
    simple.work();
    terminal.wait_for("live 2.93 KiB");
    terminal.wait_for("Ctrl-C to report");
    terminal.press("\x03");
    let status = terminal.end();
    assert!(status.success(), "{}", terminal.shown);
    let shown = &terminal.shown;
    assert!(shown.contains("/s allocations") && shown.contains("Live now, by line"), "{shown}");
    assert!(shown.trim_end().ends_with("\r\x1b[K"), "the line is removed: {shown:?}");
    assert_eq!(Report::read(&json).total("live"), (3000, 2));
}

#[test]
fn quiet_shows_no_progress() {
    let simple = Workload::c("simple");
    let mut terminal = Terminal::memtrace(&format!("--quiet -d 600ms --pid {}", simple.pid()));
    assert!(terminal.end().success(), "{}", terminal.shown);
    assert!(!terminal.shown.contains("\x1b[K"), "{:?}", terminal.shown);
    assert!(terminal.shown.contains("Live now, by line"), "{}", terminal.shown);
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.memtrace");
    let simple = Workload::c("simple");
    let run = |to: Stdio, arguments: &[&Path]| {
        let mut command = memtrace::command();
        command.args(arguments).stdout(to).stderr(Stdio::piped());
        command.spawn().and_then(std::process::Child::wait_with_output).expect("memtrace runs")
    };
    let pid = format!("-p{}", simple.pid());
    let record = ["--quiet", "-d100ms", &pid, "-o"].map(Path::new);
    let record = [&record[..], &[&path]].concat();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = run(writer.into(), &record);
    assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let output = run(full.into(), &[Path::new("report"), &path]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("print the summary: No space left"), "{errors}");
}
