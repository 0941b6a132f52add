//! A command that memtrace itself starts: held before its first instruction until it is traced.

use std::{
    ffi::OsString,
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, RawFd},
    os::unix::{
        net::UnixStream,
        process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Command, ExitStatus},
    thread,
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;

use crate::cli::Exit;

/// A child process and how it ends.
pub struct Launch {
    pid: u32,
    gate: UnixStream,
    outcome: oneshot::Receiver<io::Result<ExitStatus>>,
    exit: Option<Exit>,
}

impl Launch {
    /// Forks; the child waits to be released before it becomes the command.
    pub fn prepare(command: &[OsString]) -> Result<Self> {
        let (mut gate, held) = UnixStream::pair().context("make a gate for the command")?;
        let (send, outcome) = oneshot::channel();
        let command = command.to_vec();
        let other_end = gate.as_raw_fd();
        // Starting a process waits until it has become the command, and so does this thread.
        thread::spawn(move || send.send(run(&command, held, other_end)));
        let mut pid = [0; 4];
        gate.read_exact(&mut pid).context("start a process for the command")?;
        Ok(Self { pid: u32::from_ne_bytes(pid), gate, outcome, exit: None })
    }

    /// Process id of the child.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets the child become the command.
    pub fn release(&mut self) -> Result<()> {
        self.gate.write_all(&[1]).context("let the command start")
    }

    /// Waits for the end of the command. An error if it could not be started.
    pub async fn ended(&mut self) -> Result<()> {
        if self.exit.is_none() {
            let outcome = (&mut self.outcome).await.context("wait for the command")?;
            self.exit = Some(exit(outcome.context("start the command")?));
        }
        Ok(())
    }

    /// Waits for the end of the command and passes on how it ended.
    pub async fn exit(&mut self) -> Exit {
        match self.ended().await {
            Ok(()) => self.exit.unwrap_or(Exit::Failure),
            Err(_) => Exit::Failure,
        }
    }
}

/// As shells do: a signal is 128 and its number.
fn exit(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Exit::Command(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn run(command: &[OsString], held: UnixStream, other_end: RawFd) -> io::Result<ExitStatus> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::other(anyhow!("no command")))?;
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: the closure only makes system calls that are allowed between fork and exec.
    unsafe { command.pre_exec(move || wait_at(&held, other_end)) };
    command.spawn()?.wait()
}

/// In the child: tells its process id and waits for a byte. Fails when memtrace is gone.
fn wait_at(mut gate: &UnixStream, other_end: RawFd) -> io::Result<()> {
    // Only memtrace may hold the other end: when it closes, the child has nobody to wait for.
    // SAFETY: the child's own copy, which nothing in the child uses.
    unsafe { libc::close(other_end) };
    // Should memtrace die while the child is paused, the child goes on.
    // SAFETY: the call takes two integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGCONT) };
    gate.write_all(&std::process::id().to_ne_bytes())?;
    gate.read_exact(&mut [0])
}
