//! A command that memtrace itself starts: held before its first instruction until it is traced.

use std::{
    error::Error,
    ffi::OsString,
    fmt,
    io::{self, ErrorKind, Read as _, Write as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt as _, ExitStatusExt as _},
        },
    },
    process::{Command, ExitStatus},
    ptr, thread,
};

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

use super::signals::Inherited;
use crate::cli::Exit;

/// A child process and how it ends.
pub struct Launch {
    program: OsString,
    pid: u32,
    handle: OwnedFd,
    gate: UnixStream,
    outcome: oneshot::Receiver<io::Result<ExitStatus>>,
    exit: Option<Exit>,
}

/// A command that could not be started.
#[derive(Debug)]
pub struct NotStarted {
    program: OsString,
    error: io::Error,
}

impl NotStarted {
    /// As shells do: 127 for a command that does not exist, 126 for one that cannot be run.
    #[must_use]
    pub fn exit(&self) -> Exit {
        Exit::Command(if self.error.kind() == ErrorKind::NotFound { 127 } else { 126 })
    }

    /// What helps, as a sentence with the exact command.
    #[must_use]
    pub fn hint(&self) -> String {
        let program = self.program.display();
        match self.error.kind() {
            ErrorKind::NotFound => format!("check the name: command -v {program}"),
            ErrorKind::PermissionDenied => format!("see if it may be run: ls -l {program}"),
            _ => format!("see what it is: file {program}"),
        }
    }
}

impl fmt::Display for NotStarted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "run {}: {}", self.program.display(), self.error)
    }
}

impl Error for NotStarted {}

impl Launch {
    /// Forks; the child waits to be released before it becomes the command.
    pub fn prepare(command: &[OsString], signals: Inherited) -> Result<Self> {
        let (program, arguments) = command.split_first().context("no command")?;
        let (mut gate, held) = UnixStream::pair().context("make a gate for the command")?;
        let (send, mut outcome) = oneshot::channel();
        let mut command = Command::new(program);
        command.args(arguments);
        let parent = std::process::id();
        // SAFETY: the closure only makes system calls that are allowed between fork and exec.
        unsafe { command.pre_exec(move || wait_at(&held, signals, parent)) };
        // Starting a process waits until it has become the command, and so does this thread. It
        // goes on until the command has ended, because its own end would let the child go on.
        thread::spawn(move || send.send(command.spawn().and_then(|mut child| child.wait())));
        let mut pid = [0; 4];
        gate.read_exact(&mut pid)
            .map_err(|error| outcome.try_recv().ok().and_then(Result::err).unwrap_or(error))
            .context("start a process for the command")?;
        let pid = u32::from_ne_bytes(pid);
        let handle = open_handle(pid).context("open the process of the command")?;
        Ok(Self { program: program.clone(), pid, handle, gate, outcome, exit: None })
    }

    /// Process id of the child.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child become the command.
    pub fn release(&mut self) {
        // If it is gone, how it has ended says more than this.
        let _ = self.gate.write_all(&[1]);
    }

    /// Waits for the end of the command. An error, once, if it could not be started.
    pub async fn ended(&mut self) -> Result<()> {
        if self.exit.is_none() {
            let outcome = (&mut self.outcome).await.context("wait for the command")?;
            let not_started = |error| NotStarted { program: self.program.clone(), error };
            let outcome = outcome.map(exit).map_err(not_started);
            self.exit = Some(outcome.as_ref().map_or_else(NotStarted::exit, |exit| *exit));
            outcome?;
        }
        Ok(())
    }

    /// Waits for the end of the command and passes on how it ended.
    pub async fn exit(&mut self) -> Exit {
        // Why it could not be started has been said; its exit tells, too.
        let _ = self.ended().await;
        self.exit.unwrap_or(Exit::Failure)
    }

    /// Asks the command to end.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// Lets the command go on, should it be paused.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// To this very process, even if its id is in use again. None is sent to one that has ended.
    fn signal(&self, signal: libc::c_int) {
        let handle = self.handle.as_raw_fd();
        let no_details = ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and the kernel makes the details itself.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, handle, signal, no_details, 0) };
    }
}

/// As shells do: a signal is 128 and its number.
fn exit(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Exit::Command(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// A descriptor that means this process for as long as it is open (Linux 5.3).
fn open_handle(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers.
    let handle = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let handle = i32::try_from(handle).ok().filter(|handle| *handle >= 0);
    let handle = handle.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(handle) })
}

/// In the child: tells its process id and waits for a byte.
fn wait_at(mut gate: &UnixStream, signals: Inherited, parent: u32) -> io::Result<()> {
    signals.restore();
    // Should memtrace die now, there will be no command.
    on_death_of_parent(libc::SIGKILL);
    if std::os::unix::process::parent_id() != parent {
        return Err(ErrorKind::BrokenPipe.into());
    }
    gate.write_all(&std::process::id().to_ne_bytes())?;
    gate.read_exact(&mut [0])?;
    // Should memtrace die while the command is paused, the command goes on.
    on_death_of_parent(libc::SIGCONT);
    Ok(())
}

fn on_death_of_parent(signal: libc::c_int) {
    // SAFETY: the call takes two integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) };
}
