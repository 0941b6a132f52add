//! The signals by which a user asks for the end.

use std::{io, mem, ptr};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The end of the tracing. From a terminal, the traced command has it, too.
    Interrupt,
    /// The end of memtrace and of what it has started.
    Terminate,
}

/// What was to happen on the signals before memtrace listened to them.
#[derive(Clone, Copy, Debug)]
pub struct Inherited([(libc::c_int, libc::sighandler_t); 3]);

/// Requests, as they come in.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    inherited: Inherited,
}

impl Signals {
    /// Listens from now on: none of the signals ends memtrace by itself any more.
    pub fn listen() -> io::Result<Self> {
        let inherited = Inherited::read();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            inherited,
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) -> Request {
        // Under nohup the end of the terminal is not to be noticed.
        let hangup_counts = !self.inherited.ignores(libc::SIGHUP);
        tokio::select! {
            _ = self.interrupt.recv() => Request::Interrupt,
            _ = self.terminate.recv() => Request::Terminate,
            _ = self.hangup.recv(), if hangup_counts => Request::Interrupt,
        }
    }

    /// What a child is to do on the signals.
    #[must_use]
    pub fn inherited(&self) -> Inherited {
        self.inherited
    }
}

impl Inherited {
    fn read() -> Self {
        Self([libc::SIGINT, libc::SIGTERM, libc::SIGHUP].map(|signal| (signal, handler(signal))))
    }

    fn ignores(&self, signal: libc::c_int) -> bool {
        self.0.contains(&(signal, libc::SIG_IGN))
    }

    /// Undoes the listening, in a child. Makes only system calls that are allowed between fork and
    /// exec.
    pub fn restore(&self) {
        for (signal, handler) in self.0 {
            // SAFETY: the handler is one of the kernel's own.
            unsafe { libc::signal(signal, handler) };
        }
    }
}

/// `SIG_IGN` or `SIG_DFL`: a program that was just started has no other.
fn handler(signal: libc::c_int) -> libc::sighandler_t {
    // SAFETY: all zeros are an action.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: a null pointer changes nothing; the other is written to.
    unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    action.sa_sigaction
}
