//! How memtrace says no: one line that names the thing, a hint, the documented exit code.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use super::memtrace;

/// An error as memtrace printed it.
pub struct Refusal {
    /// The first line, without `memtrace: `.
    pub error: String,
    /// The second line, without `hint: `.
    pub hint: String,
}

/// Runs memtrace and expects it to end with this code, an error and a hint, and nothing else.
#[track_caller]
pub fn refused<S: AsRef<OsStr>>(code: i32, arguments: impl IntoIterator<Item = S>) -> Refusal {
    refusal(code, &memtrace::run(arguments))
}

/// As [`refused`], of a run that has ended.
#[track_caller]
pub fn refusal(code: i32, output: &Output) -> Refusal {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "nothing but errors is said");
    let lines: Vec<_> = text.lines().collect();
    let [error, hint] = lines[..] else { panic!("an error and a hint are two lines: {text}") };
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let error = error.strip_prefix("memtrace: ").expect("the error says whose it is");
    let hint = hint.strip_prefix("hint: ").expect("the second line is a hint");
    Refusal { error: error.to_owned(), hint: hint.to_owned() }
}

impl Refusal {
    /// Expects words in the error and in the hint.
    #[track_caller]
    pub fn says(&self, error: &str, hint: &str) {
        assert!(self.error.contains(error), "{}", self.error);
        assert!(self.hint.contains(hint), "{}", self.hint);
    }
}

/// memtrace in a mount namespace of its own, after a shell has changed what is mounted there.
pub fn in_namespace(setup: &str, arguments: &[&str]) -> Output {
    Command::new("unshare")
        .args(["--mount", "sh", "-ec", &format!("{setup}\nexec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_memtrace"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("unshare starts; it needs root")
}

/// memtrace as the user `nobody`, who can do nothing.
pub fn as_nobody(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("memtrace");
    // Where it was built nobody may be allowed to look.
    fs::copy(env!("CARGO_BIN_EXE_memtrace"), &program).expect("memtrace can be copied");
    open_to_all(folder.path());
    open_to_all(&program);
    Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("setpriv starts; it needs root")
}

/// memtrace as root without one capability.
pub fn without_capability(name: &str, arguments: &[&str]) -> Output {
    Command::new("setpriv")
        .args([format!("--bounding-set=-{name}"), format!("--inh-caps=-{name}")])
        .arg(env!("CARGO_BIN_EXE_memtrace"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("setpriv starts; it needs root")
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}
