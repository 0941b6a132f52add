//! Commands that memtrace starts: traced from their first instruction, and otherwise as if it
//! were not there.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

use crate::support::{
    cgroup::Cgroup,
    memtrace,
    observe::{state, wait_until},
    refusal::refusal,
    report::Report,
    terminal::Terminal,
    workload::{compile, main_python, pythons},
};

fn exit_code(command: &[&str]) -> Option<i32> {
    let arguments = [&["--"], command].concat();
    memtrace::run(arguments).status.code()
}

fn traced(command: &[&str]) -> (Output, Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let to = ["-o", path.to_str().expect("text"), "--"];
    let output = memtrace::run([&to, command].concat());
    (output, Report::read(&path))
}

/// A shell under memtrace that has said `up`.
struct Shell {
    memtrace: Child,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(options: &[&str], script: &str) -> Self {
        let mut memtrace = memtrace::command()
            .args(options)
            .args(["--", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("memtrace starts");
        let output = BufReader::new(memtrace.stdout.take().expect("was piped"));
        Self { memtrace, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        line.trim_end().to_owned()
    }

    fn go(&mut self) {
        self.memtrace.stdin.as_mut().expect("was piped").write_all(b"go\n").expect("it reads");
    }

    fn signal(&self, signal: i32) {
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(self.memtrace.id().cast_signed(), signal) };
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.memtrace.wait().expect("memtrace ends").code()
    }
}

#[test]
fn everything_from_the_first_instruction_is_counted() {
    let program = compile("from_start", &[]);
    let (output, report) = traced(&[program.to_str().expect("text"), "3"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(report.within("live", "keep"), (6666, 3));
    assert_eq!(report.within("live", "before_main"), (1111, 1));
    assert_eq!(report.within("live", "main"), (5555, 2));
    assert_eq!(report.losses(), Vec::<String>::new());
    let processes = report.0["processes"].as_array().expect("processes");
    let is_descendant = |process: &Value| process["parent"] == processes[0]["pid"];
    assert!(processes[0]["parent"].is_null() && processes[1..].iter().all(is_descendant));
    assert_eq!(output.stdout, b"", "the summary is not the command's output");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Live at the end, by line"));
}

#[test]
fn a_static_python_that_was_seen_before_its_c_library_leaves_no_doubt() {
    // What starts a shared one has a few kilobytes.
    let is_static = |python: &PathBuf| fs::metadata(python).is_ok_and(|file| file.len() > 1 << 20);
    let pythons: Vec<_> = pythons().into_iter().filter(is_static).collect();
    assert!(!pythons.is_empty(), "one is static");
    for python in pythons {
        let python = python.to_str().expect("text");
        let script = "def grab(): return bytearray(10_000_000)\nblock = grab()";
        let (_, report) = traced(&[python, "-c", script]);
        assert!(report.within("allocated", "grab").0 >= 10_000_000, "{python}");
        let notes = report.0["notes"].as_array().expect("notes");
        let doubts = notes.iter().filter(|note| note.to_string().contains("Python")).count();
        assert_eq!(doubts, 0, "{python}: {notes:?}");
    }
}

#[test]
fn how_the_command_ends_is_passed_on() {
    assert_eq!(exit_code(&["true"]), Some(0));
    assert_eq!(exit_code(&["sh", "-c", "kill -KILL $$"]), Some(128 + 9));
    refusal(127, &memtrace::run(["--", "no-such-command"]))
        .says("run no-such-command: No such file", "command -v no-such-command");
    refusal(126, &memtrace::run(["--", "/etc/passwd"]))
        .says("run /etc/passwd: Permission denied", "ls -l /etc/passwd");
    refusal(127, &memtrace::run(["--", "no\x1b[31m\nsuch"])).says("run no\\u{1b}[31m such", "");
}

#[test]
fn input_and_output_pass_untouched() {
    let data: Vec<u8> = (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect();
    let mut child = memtrace::command()
        .args(["--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("memtrace starts");
    let mut input = child.stdin.take().expect("was piped");
    let sent = data.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent));
    let output = child.wait_with_output().expect("memtrace ends");
    writer.join().expect("no panic").expect("cat reads");
    assert!(output.status.success() && output.stdout == data);
}

#[test]
fn scripts_and_their_interpreters_are_followed_by_relative_paths() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("shim");
    let python = main_python();
    // As pyenv's shims: a script that becomes another one, which becomes Python.
    let text = "#!/usr/bin/env sh\nexec sh -c 'exec \"$@\"' sh \"$PYTHON\" -c \
        'import sys\ndef grab(): return bytearray(10_000_000)\nblock = grab()\nprint(sys.argv[1])' \
        \"$1\"\n";
    fs::write(&script, text).expect("it is ours");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let output = memtrace::command()
        .args(["-o", "report.json", "--", "./shim", "hello"])
        .env("PYTHON", &python)
        .current_dir(folder.path())
        .output()
        .expect("memtrace starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"hello\n"[..]), "{errors}");
    let report = Report::read(&folder.path().join("report.json"));
    let processes = report.0["processes"].as_array().expect("processes");
    let python = processes.last().expect("a process");
    assert!(python["python"].is_string(), "{processes:?}");
    let (bytes, _) = report.within("allocated", "grab");
    assert!((10_000_000..10_001_000).contains(&bytes), "{bytes}");
    assert_eq!(report.losses(), Vec::<String>::new());
}

#[test]
fn children_that_are_left_behind_are_not_waited_for() {
    let script = "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exit 5";
    let output = memtrace::run(["--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(5));
    let pid: u32 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a process id");
    assert_eq!(state(pid), 'S', "it goes on");
    Command::new("kill").arg(pid.to_string()).status().expect("kill starts");
}

#[test]
fn a_command_that_outlasts_the_duration_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let options = ["-d", "300ms", "-o", path.to_str().expect("text")];
    let mut shell = Shell::start(&options, "echo up; read line; exit 6");
    assert_eq!(shell.line(), "up");
    wait_until("the report", || path.exists());
    shell.go();
    assert_eq!(shell.exit_code(), Some(6));
    Report::read(&path);
}

#[test]
fn a_failed_report_shows_in_the_exit_only_if_the_command_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("out.json");
    let path = path.to_str().expect("text");
    let run = |code: &str| {
        // The folder is gone when the report is to be written.
        let script = format!("rm -r {}; exit {code}", folder.path().display());
        fs::create_dir_all(folder.path()).expect("it is ours");
        let output = memtrace::run(["-o", path, "--", "sh", "-c", &script]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("memtrace: write ") && errors.contains("hint: make"), "{errors}");
        output.status.code()
    };
    assert_eq!(run("0"), Some(1));
    assert_eq!(run("7"), Some(7));
}

#[test]
fn a_request_to_terminate_reaches_the_command() {
    let mut shell = Shell::start(&[], "trap 'echo asked; exit 8' TERM; echo up; read line");
    assert_eq!(shell.line(), "up");
    shell.signal(libc::SIGTERM);
    assert_eq!(shell.line(), "asked");
    assert_eq!(shell.exit_code(), Some(8));
}

#[test]
fn an_interrupt_at_the_terminal_reaches_both() {
    let mut terminal = Terminal::memtrace("-- sh -c 'echo u\"\"p; exec sleep 1000'");
    terminal.wait_for("up");
    terminal.press("\x03");
    assert_eq!(terminal.end().code(), Some(128 + libc::SIGINT));
    assert!(terminal.shown.contains(", by line"), "{}", terminal.shown);
    assert!(!terminal.shown.contains("\x1b[K"), "no progress: {:?}", terminal.shown);
    assert!(!terminal.shown.contains("frames show addresses"), "one is not two");
}

#[test]
fn a_command_that_ignores_the_interrupt_is_waited_for() {
    let script = "trap \"\" INT; echo u\"\"p; read line; exit 7";
    let mut terminal = Terminal::memtrace(&format!("-- sh -c '{script}'"));
    terminal.wait_for("up");
    terminal.press("\x03");
    terminal.wait_for(", by line");
    terminal.press("\x03go\n");
    assert_eq!(terminal.end().code(), Some(7), "{}", terminal.shown);
}

#[test]
fn a_command_goes_on_when_memtrace_is_killed_while_it_is_paused() {
    let script = "echo $$; read line; exec sh -c 'exec echo went on'";
    let mut shell = Shell::start(&[], script);
    let pid = shell.line().parse().expect("a process id");
    // A memtrace that cannot answer leaves the command paused at its next program.
    shell.signal(libc::SIGSTOP);
    shell.go();
    wait_until("a paused command", || state(pid) == 'T');
    shell.signal(libc::SIGKILL);
    assert_eq!(shell.line(), "went on");
    assert_eq!(shell.exit_code(), None);
}

#[test]
fn a_command_that_is_paused_all_the_time_goes_on_when_memtrace_is_killed() {
    let program = compile("reloader", &[]);
    let mut shell = Shell::start(&[], &format!("exec {}", program.display()));
    let pid: u32 = shell.line().parse().expect("a process id");
    wait_until("a paused command", || state(pid) == 'T');
    shell.signal(libc::SIGKILL);
    assert_eq!(shell.exit_code(), None);
    assert_ne!(state(pid), 'T', "nobody is left to let it go on");
    // SAFETY: the call takes two integers; the process is this test's own.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

#[test]
fn a_command_that_memtrace_could_not_prepare_never_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let witness = folder.path().join("witness");
    let witness = witness.to_str().expect("text");
    let too_many = ["--max-live", "268435456"];
    let arguments = [&too_many[..], &["--", "touch", witness]].concat();
    refusal(1, &memtrace::run(arguments)).says("load the kernel object: ", "--max-live");
    let limited = Command::new("prlimit")
        .arg("--nofile=20")
        .arg(env!("CARGO_BIN_EXE_memtrace"))
        .args(["--", "touch", witness])
        .output()
        .expect("prlimit starts");
    refusal(1, &limited).says("Too many open files", "ulimit -n");
    assert!(!Path::new(witness).exists());
}

#[test]
fn whose_limit_memtrace_shares_is_told_that_it_does() {
    let group = Cgroup::limited(1 << 30);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("report.json");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "read line; exec \"$@\"", "sh"])
        .arg(memtrace::command().get_program())
        .arg("-o");
    shell.arg(&path).args(["--", "true"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut shell = shell.spawn().expect("a shell");
    group.add(shell.id());
    writeln!(shell.stdin.take().expect("it is piped")).expect("it reads");
    let output = shell.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(
        said.contains(&format!("inside the control group {}, limit 1.00 GiB", group.path)),
        "{said}"
    );
    let notes = Report::read(&path).0["notes"].to_string();
    assert!(notes.contains("its own memory, at most ") && notes.contains(&group.path), "{notes}");
}
