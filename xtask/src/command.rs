//! Runs other programs and turns their failures into errors. It knows nothing of what they are for.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    iter,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

/// Lines of a failed quiet program that its error repeats.
const SHOWN_LINES: usize = 20;

/// The cargo that runs this task.
pub fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
}

/// Runs a program to its end, its output on the terminal.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("start {}", shown(command)))
}

/// Runs programs at the same time, and says whether all succeeded. The first one's output is on the
/// terminal; that of the others follows once they have ended.
pub fn succeed_together(programs: Vec<Command>) -> Result<bool> {
    let mut programs = programs.into_iter();
    let Some(mut first) = programs.next() else { return Ok(true) };
    let others: Vec<_> = programs.map(|other| thread::spawn(|| captured(other))).collect();
    let mut succeeded = status(&mut first)?.success();
    for other in others {
        let output = other.join().expect("nothing in it panics")?;
        io::stderr().write_all(&output.stderr)?;
        io::stdout().write_all(&output.stdout)?;
        succeeded &= output.status.success();
    }
    Ok(succeeded)
}

fn captured(mut command: Command) -> Result<Output> {
    command.output().with_context(|| format!("start {}", shown(&command)))
}

/// Runs a program that must succeed, its output on the terminal.
pub fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    ensure!(status.success(), "{} ended with {status}", shown(command));
    Ok(())
}

/// Runs a program that must succeed; its output is seen only if it does not.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    // A backtrace would push the reason out of the lines shown.
    let output = command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("start {}", shown(command)))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    bail!("{} ended with {}\n{}", shown(command), output.status, last.join("\n"))
}

/// What a program prints, or `None` if it is not there or fails.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The words that must stand before a program for it to run as root: none, or `sudo -n`.
pub fn root_prefix() -> Result<&'static [&'static str]> {
    // The owner of /proc/self is the effective user.
    let user = fs::metadata("/proc/self").context("look up the current user")?.uid();
    if user == 0 {
        return Ok(&[]);
    }
    let sudo = answer(Command::new("sudo").args(["-n", "true"]));
    sudo.context("this needs root\nhint: sudo -v, then the same command again")?;
    Ok(&["sudo", "-n"])
}

/// A program that will run as root.
pub fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    let [sudo, options @ ..] = root_prefix()? else { return Ok(Command::new(program)) };
    let mut command = Command::new(sudo);
    command.args(options).arg(program);
    Ok(command)
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = iter::once(program).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
