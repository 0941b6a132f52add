//! A traced process and its totals.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Amounts, AtPeak, Decomposition, Heap, Residence, Shed, printable};

/// A traced process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Process id of the traced process that it is a child of, if any.
    pub parent: Option<u32>,
    /// Its short name.
    pub comm: String,
    /// Its arguments, joined by spaces.
    pub command_line: String,
    /// What it is there for, if its command line tells.
    pub role: Option<String>,
    /// The service, container or pod that it belongs to, if known.
    pub place: Option<String>,
    /// Version of its Python interpreter, if it has one.
    pub python: Option<String>,
    /// Its memory, as counted without regard to stacks.
    pub amounts: Amounts,
    /// When its live memory was at its peak, from the start of tracing.
    pub peak_at: Option<Duration>,
    /// Its calls of allocator functions.
    pub calls: Calls,
    /// Its resident memory at the end of tracing, or the most in the last two seconds before its own end; `None`: not
    /// known.
    pub rss_bytes: Option<u64>,
    /// The most resident memory that it ever had, also before tracing: `VmHWM`; `None`: not known.
    pub highest_rss_bytes: Option<u64>,
    /// How much of its resident memory was its own, at the end of tracing or when it was last looked at
    /// before its own end; `None`: not known.
    pub sharing: Option<Sharing>,
    /// Resident memory that it stayed below for nine tenths of the time; `None`: not known.
    pub usual_rss_bytes: Option<u64>,
    /// What its resident memory consisted of at the end of tracing; `None`: not known, as after
    /// its own end.
    pub decomposition: Option<Decomposition>,
    /// How it is known whose its resident memory is; `None`: it is not.
    pub residence: Option<Residence>,
    /// What was resident when most was live; `None`: not known.
    pub at_peak: Option<AtPeak>,
    /// That its probes were taken off before the end; `None`: they were not.
    pub shed: Option<Shed>,
    /// Its heap at the end of tracing, if that was looked at.
    pub heap: Option<Heap>,
    /// When its own tracing began, from the start of tracing.
    pub began: Duration,
    /// When it ended, from the start of tracing; `None`: it outlived the tracing.
    pub ended: Option<Duration>,
}

/// Resident memory by who else has it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sharing {
    /// Nobody else has it.
    pub private: u64,
    /// Others have it as well.
    pub shared: u64,
    /// Private memory, and its part of each shared page: `Pss`. Added up over all who share, shared
    /// memory counts once.
    pub proportional: u64,
}

/// Calls of allocator functions. Exact even when sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Calls that returned memory.
    pub allocations: u64,
    /// Releases of recorded memory.
    pub releases: u64,
    /// Releases of memory that was not recorded: from before tracing began, or not sampled.
    pub unknown_releases: u64,
    /// Calls that returned no memory.
    pub failures: u64,
}

impl Process {
    /// The root frame of its stacks: `comm (pid)`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} ({})", printable(&self.comm), self.pid)
    }

    /// How long it was traced, if all of it took so long.
    #[must_use]
    pub fn traced(&self, duration: Duration) -> Duration {
        self.ended.unwrap_or(duration).saturating_sub(self.began)
    }
}
