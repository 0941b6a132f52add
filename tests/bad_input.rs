//! Everything that cannot work is refused in one line with a hint, before any work where possible,
//! and leaves nothing behind.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use ::memtrace::recording::VERSION;

use crate::support::{
    memtrace,
    observe::{breakpoints, state, wait_until},
    refusal::{as_nobody, in_namespace, refusal, refused, without_capability},
    report::Report,
    workload::{Workload, compile},
};

#[test]
fn the_command_line_is_checked_first() {
    refused::<&str>(2, []).says("nothing to trace", "memtrace --pid PID");
    refused(2, ["--pid", "-1"]).says("'-1'", "--help");
    refused(2, ["--pid", "python"]).says("not a process id", "--help");
    refused(2, ["--pid", "0"]).says("not a process id", "--help");
    refused(2, ["-p1", "--sample", "0"]).says("at least one byte", "--help");
    refused(2, ["-p1", "--sample", "1TB"]).says("write it like 512KiB", "--help");
    refused(2, ["-p1", "-d", "soon"]).says("write it like 0.5s", "--help");
    refused(2, ["-p1", "-d", "0s"]).says("longer than nothing", "--help");
    refused(2, ["-p1", "--view", "all"]).says("live, peak, allocated", "--help");
    refused(2, ["-p1", "--", "true"]).says("cannot be used with", "--help");
    refused(2, ["report"]).says("<RECORDING>", "--help");
    refused(2, ["-p1", "-o", "out.png"])
        .says("out.png: the name must end in one of .svg, ", ".svg");
    refused(2, ["-p1", "-o", "a.svg", "-o", "a.svg"]).says("a.svg is named twice", "of its own");
}

#[test]
fn what_is_no_traceable_process_is_named() {
    let trace = |code, pid: u32| refused(code, ["--pid", &pid.to_string()]);
    let absent = i32::MAX as u32;
    trace(3, absent).says(&format!("process {absent} does not exist"), "pgrep");
    let is_host = fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n");
    assert!(is_host, "this test needs the host's processes");
    trace(1, 2).says("process 2 is a kernel thread", "pgrep");
    let mut zombie = Command::new("true").spawn().expect("starts");
    wait_until("a zombie", || state(zombie.id()) == 'Z');
    trace(3, zombie.id()).says("has ended (zombie)", "ps -o ppid= -p");
    zombie.wait().expect("it has ended");
    let mut small = program_of_32_bits();
    trace(1, small.id()).says("does not run a 64-bit x86 program", "file -L /proc/");
    small.kill().and_then(|()| small.wait()).expect("it is ours");
    let shell = format!("exec {} --pid $$", env!("CARGO_BIN_EXE_memtrace"));
    let itself = Command::new("sh").args(["-c", &shell]).output().expect("starts");
    refusal(1, &itself).says("is memtrace itself", "another process");
}

#[test]
fn a_thread_is_not_a_process() {
    let busy = Workload::c("busy");
    let threads = fs::read_dir(format!("/proc/{}/task", busy.pid())).expect("it lives");
    let ids = threads.filter_map(|thread| thread.ok()?.file_name().into_string().ok());
    let thread = ids.into_iter().find(|id| *id != busy.pid().to_string()).expect("it has threads");
    let owner = busy.pid();
    refused(1, ["--pid", &thread])
        .says(&format!("{thread} is a thread of process {owner}"), &format!("--pid {owner}"));
}

#[test]
fn a_program_without_known_allocator_is_refused() {
    let program = compile("no_libc", &["-static", "-nostdlib", "-s"]);
    let mut target = Workload::start(&mut Command::new(program));
    let pid = target.pid().to_string();
    // Quietly: the look that comes before tracing has something to say.
    refused(1, ["--quiet", "--pid", &pid]).says("has no allocator", &format!("nm /proc/{pid}/exe"));
    // One that cannot be traced does not keep the others from being traced.
    let simple = Workload::c("simple");
    let list = format!("{pid},{},{pid}", simple.pid());
    let output = memtrace::run(["--quiet", "-d", "100ms", "--pid", &list]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.matches("not traced: ").count(), 1, "{errors}");
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(summary.starts_with("simple"), "only one is shown: {summary}");
    assert!(summary.contains(&format!("not traced: process {pid} ")), "{summary}");
    assert!(target.is_running());
}

#[test]
fn rights_that_are_missing_are_asked_for() {
    let simple = Workload::c("simple");
    let pid = simple.pid().to_string();
    refusal(4, &as_nobody(&["--pid", &pid])).says("does not let this user", "sudo ");
    let doctor = as_nobody(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("DENIED"));
    let output = as_nobody(&["--pid", &pid, "-o", "/root.svg"]);
    refusal(1, &output).says("write /root.svg: Permission denied", "folder");
}

#[test]
fn a_root_without_capabilities_is_told_which() {
    let target = Workload::c("simple");
    let pid = target.pid().to_string();
    for (option, option_of_container) in
        [("sys_admin", "--cap-add SYS_ADMIN"), ("sys_ptrace", "--cap-add SYS_PTRACE")]
    {
        let run = |arguments: &[&str]| without_capability(option, arguments);
        let doctor = run(&["doctor"]);
        let text = String::from_utf8_lossy(&doctor.stdout);
        assert_eq!(doctor.status.code(), Some(4), "{text}");
        let denied = format!("DENIED   capability CAP_{}: ", option.to_uppercase());
        let line = text.lines().find(|line| line.starts_with(&denied));
        assert!(line.is_some_and(|line| line.ends_with(option_of_container)), "{text}");
        assert!(text.ends_with("\nmemtrace may not trace: see what is DENIED.\n"), "{text}");
        let refusal = refusal(4, &run(&["-d", "100ms", "--pid", &pid]));
        refusal.says("", option_of_container);
        assert!(!refusal.hint.contains("sudo"), "{}", refusal.hint);
    }
}

#[test]
fn doctor_misses_proc() {
    let output = in_namespace("mount -t tmpfs none /proc", &["doctor"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("MISSING  /proc: ") && text.contains("mount -t proc"), "{text}");
    assert!(text.ends_with("cannot trace here: see what is MISSING.\n"), "{text}");
}

#[test]
fn a_kernel_that_lacks_something_is_told_from_an_error() {
    let simple = Workload::c("simple");
    let arguments = ["-d", "100ms", "--pid", &simple.pid().to_string()];
    for setup in [
        "mount --bind /dev/null /sys/kernel/btf/vmlinux",
        "mount --bind /etc/passwd /sys/kernel/btf/vmlinux",
        "mount -t tmpfs none /sys/kernel",
    ] {
        let output = in_namespace(setup, &arguments);
        refusal(5, &output).says("lacks type information (BTF)", "CONFIG_DEBUG_INFO_BTF=y");
    }
    let output = in_namespace("mount -t tmpfs none /sys/bus/event_source", &arguments);
    refusal(5, &output).says("lacks user-space probes", "CONFIG_UPROBE_EVENTS=y");
    let doctor = in_namespace("mount -t tmpfs none /sys/bus/event_source", &["doctor"]);
    assert_eq!(doctor.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("MISSING  user-space probes"));
    assert!(breakpoints(simple.pid()).is_empty());
}

#[test]
fn neither_tracefs_nor_locked_memory_is_needed() {
    let simple = Workload::c("simple");
    let setup = "mount -t tmpfs none /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug
        set -- setpriv --bounding-set=-sys_resource prlimit --memlock=0:0 \"$@\"";
    let output = in_namespace(setup, &["-d", "100ms", "--pid", &simple.pid().to_string()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("traced and not released"));
}

#[test]
fn files_are_checked_before_any_work() {
    let simple = Workload::c("simple");
    let pid = simple.pid().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let (good, nowhere, inside) = (path("good.svg"), path("no/out.svg"), path("folder.svg"));
    fs::write(&good, "precious").expect("it is ours");
    fs::create_dir(&inside).expect("it is ours");
    refused(1, ["-p", &pid, "-o", &good]).says("good.svg exists already", "--force");
    refused(1, ["-p", &pid, "-o", &nowhere]).says("out.svg: No such file", "mkdir -p");
    refused(1, ["-p", &pid, "--force", "-o", &inside]).says("is a folder", "another name");
    refused(1, ["-p", &pid, "-o", "/proc/out.svg"]).says("/proc/out.svg", "");
    assert_eq!(fs::read(&good).expect("it is there"), b"precious");
    assert_eq!(fs::read_dir(folder.path()).expect("it is ours").count(), 2);
}

#[test]
fn a_full_disk_costs_the_new_report_only() {
    let simple = Workload::c("simple");
    let folder = tempfile::tempdir().expect("a folder");
    let disk = folder.path().to_str().expect("text");
    // The shell stays, to look at the disk that nobody else can see.
    let setup = format!(
        "mount -t tmpfs -o size=4k none {disk}; echo precious > {disk}/out.memtrace
        \"$@\" && code=0 || code=$?; ls -A {disk}; cat {disk}/out.memtrace; exit $code"
    );
    let out = format!("{disk}/out.memtrace");
    let pid = simple.pid().to_string();
    let output = in_namespace(&setup, &["-d", "100ms", "-p", &pid, "--force", "-o", &out]);
    let (shown, errors) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("out.memtrace: No space left on device"), "{errors}");
    assert!(errors.contains("hint: free some space"), "{errors}");
    // The summary comes all the same.
    assert!(String::from_utf8_lossy(shown).contains("Live now, by line"));
    assert!(shown.ends_with(b"\nout.memtrace\nprecious\n"), "{}", String::from_utf8_lossy(shown));
    assert!(breakpoints(simple.pid()).is_empty());
}

#[test]
fn recordings_that_cannot_be_read_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let report = |contents: &[u8]| {
        fs::write(path("in.memtrace"), contents).expect("it is ours");
        refused(1, ["report", &path("in.memtrace"), "--force", "-o", &path("out.svg")])
    };
    fs::write(path("out.svg"), "precious").expect("it is ours");
    report(b"<svg>").says("in.memtrace: not a memtrace recording", "-o NAME.memtrace");
    report(b"").says("in.memtrace: not a memtrace recording", "record one");
    let head = [b"MEMTRACE", &VERSION.to_le_bytes()[..]].concat();
    report(&[&head, &b"\x1f\x8b\x08"[..]].concat()).says("the file ends early", "copy it again");
    report(&[&head, &b"no gzip at all"[..]].concat()).says("damaged", "copy it again");
    report(b"MEMTRACE\xff\0\0\0").says("newer memtrace (format 255", "upgrade");
    refused(1, ["report", &path("absent")]).says("absent: No such file", "ls -l");
    refused(1, ["report", "/"]).says("recording /: ", "ls -l");
    assert_eq!(fs::read(path("out.svg")).expect("it is there"), b"precious");
    assert_eq!(fs::read_dir(folder.path()).expect("it is ours").count(), 2);
}

#[test]
fn a_process_may_end_at_any_moment_of_the_attaching() {
    for milliseconds in [0, 10, 40, 80, 160] {
        let mut sleep = Command::new("sleep").arg("1000").spawn().expect("starts");
        let memtrace = memtrace::command()
            .args(["--quiet", "-d", "100ms", "--pid", &sleep.id().to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        thread::sleep(Duration::from_millis(milliseconds));
        sleep.kill().and_then(|()| sleep.wait()).expect("it is ours");
        let output = memtrace.wait_with_output().expect("memtrace ends");
        if !output.status.success() {
            refusal(3, &output);
        }
    }
}

#[test]
fn hostile_names_reach_no_terminal() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("\x1b[31mx\ny");
    fs::copy(compile("simple", &[]), &program).expect("it can be copied");
    let mut command = Command::new(&program);
    command.arg0("\x1b]0;title\x07\n").arg("\u{202e}\u{9b}31m");
    let target = Workload::start(&mut command);
    let json = folder.path().join("out.json");
    let json = json.to_str().expect("text");
    let pid = target.pid().to_string();
    let output = memtrace::run(["--verbose", "-d", "100ms", "-p", &pid, "-o", json]);
    let shown = [output.stdout, output.stderr].concat();
    let shown = String::from_utf8(shown).expect("memtrace writes UTF-8");
    assert!(output.status.success() && shown.contains(&pid), "{shown}");
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    let text = fs::read_to_string(json).expect("memtrace wrote a report");
    assert!(!text.contains('\x1b') && serde_json::from_str::<serde_json::Value>(&text).is_ok());
    let missing = format!("{}/no\n\x1b[31m.svg", folder.path().join("no").display());
    refused(1, ["-p", &pid, "-o", &missing]).says(r"no \u{1b}[31m.svg", "mkdir");
}

#[test]
fn a_command_that_cannot_be_traced_is_told_of_at_once_and_goes_on() {
    let blind = compile("no_libc", &["-static", "-nostdlib", "-s"]);
    let commands = [
        (file_of_32_bits(), "does not run a 64-bit x86 program"),
        (blind, "has no allocator: no file it has mapped has a symbol malloc"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (number, (program, complaint)) in commands.into_iter().enumerate() {
        let json = folder.path().join(format!("{number}.json"));
        let mut memtrace = memtrace::command();
        memtrace.arg("-o").arg(&json).arg("--").arg(&program);
        memtrace.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut memtrace = memtrace.spawn().expect("memtrace starts");
        // To wait for it would end its input, and the command with it.
        let input = memtrace.stdin.take();
        let errors = BufReader::new(memtrace.stderr.take().expect("was piped"));
        let mut lines = errors.lines().map(|line| line.expect("text"));
        // The command runs until it is told to end.
        assert!(lines.next().is_some_and(|line| line.contains(complaint)));
        assert!(lines.next().is_some_and(|line| line.starts_with("hint: ")));
        // SAFETY: the call takes two integers; the child has not been waited for.
        unsafe { libc::kill(memtrace.id().cast_signed(), libc::SIGTERM) };
        assert_eq!(memtrace.wait().expect("it ends").code(), Some(128 + libc::SIGTERM));
        drop(input);
        let report = Report::read(&json).0;
        let [process] = &report["processes"].as_array().expect("processes")[..] else {
            panic!("one process: {}", report["processes"])
        };
        let name = program.file_name().expect("a file").to_str().expect("text");
        assert_eq!(process["comm"], name[..name.len().min(15)]);
        let notes = report["notes"].to_string();
        assert_eq!(notes.matches(&format!("process {}", process["pid"])).count(), 1, "{notes}");
        assert!(notes.contains(complaint), "{notes}");
    }
}

/// Runs a program that calls `pause` for ever.
fn program_of_32_bits() -> std::process::Child {
    Command::new(file_of_32_bits()).spawn().expect("32-bit programs run")
}

/// A static i386 program that calls `pause` for ever.
fn file_of_32_bits() -> PathBuf {
    let code = b"\xb8\x1d\0\0\0\xcd\x80\xeb\xf7";
    let (base, headers) = (0x0804_8000_u32, 52 + 32);
    let size = headers + code.len() as u32;
    let mut image = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    image.extend([base + headers, 52, 0, 0].map(u32::to_le_bytes).as_flattened());
    image.extend([52_u16, 32, 1, 0, 0, 0].map(u16::to_le_bytes).as_flattened());
    image.extend([1, 0, base, base, size, size, 5, 4096].map(u32::to_le_bytes).as_flattened());
    image.extend(code);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("32-bit");
    let mut file = fs::File::create(&path).expect("it is ours");
    file.write_all(&image).expect("it is ours");
    file.set_permissions(fs::Permissions::from_mode(0o700)).expect("it is ours");
    path
}
