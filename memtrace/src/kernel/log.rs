//! What the kernel programs themselves have to say, through aya-log. Never used for allocations.

use std::{
    io::Write as _,
    os::fd::{AsRawFd, RawFd},
};

use aya_log::EbpfLogger;
use log::{Level, Log as Sink, Metadata, Record};

/// Messages as they come in. Its file descriptor is readable when there are some.
pub struct Log(pub(super) EbpfLogger<Printer>);

impl Log {
    /// Prints what has come in.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}

impl AsRawFd for Log {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Prints messages to standard error.
pub struct Printer {
    /// Whether messages that are no warnings are printed.
    pub verbose: bool,
}

impl Sink for Printer {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.verbose || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // A terminal that is gone is no reason to stop.
            let _ = writeln!(std::io::stderr(), "memtrace: kernel: {}", record.args());
        }
    }

    fn flush(&self) {}
}
