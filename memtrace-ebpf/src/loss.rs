//! What could not be recorded, counted in the kernel and explained by the loader.

/// A reason for a number to be uncertain. The value is the counter's index.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Loss {
    /// The map of live allocations is full.
    LiveFull = 0,
    /// The map of stacks is full.
    StacksFull = 1,
    /// The map of totals per stack is full.
    TotalsFull = 2,
    /// The map of threads is full.
    ThreadsFull = 3,
    /// Allocator calls nested deeper than are remembered.
    CallsTooDeep = 4,
    /// An allocator returned on a thread whose call was not seen.
    ReturnWithoutCall = 5,
    /// An allocator was entered, but its return was never seen.
    CallWithoutReturn = 6,
    /// An address was handed out again without its release being seen.
    ReleaseMissed = 7,
    /// The result of a call could not be read from the process.
    ResultUnreadable = 8,
    /// The loader read events more slowly than the kernel wrote them.
    EventsFull = 9,
    /// The map of Python code objects is full.
    CodesFull = 10,
    /// Two threads met at the peak's bookkeeping and one did not wait.
    PeakUncertain = 11,
    /// There was no slot left for a process.
    ProcessesFull = 12,
    /// The loader read what happened to pages more slowly than it happened.
    PagesFull = 13,
    /// The loader read kills more slowly than they happened.
    KillsFull = 14,
    /// Who was killed could not be read.
    KillUnreadable = 15,
    /// The kernel left a program out, which was running on that processor already. Counted by the
    /// kernel itself.
    ProgramSkipped = 16,
}

impl Loss {
    /// Every reason, in counter order.
    pub const ALL: [Self; 17] = [
        Self::LiveFull,
        Self::StacksFull,
        Self::TotalsFull,
        Self::ThreadsFull,
        Self::CallsTooDeep,
        Self::ReturnWithoutCall,
        Self::CallWithoutReturn,
        Self::ReleaseMissed,
        Self::ResultUnreadable,
        Self::EventsFull,
        Self::CodesFull,
        Self::PeakUncertain,
        Self::ProcessesFull,
        Self::PagesFull,
        Self::KillsFull,
        Self::KillUnreadable,
        Self::ProgramSkipped,
    ];

    /// What happened, so often: a noun, which has a plural in `s` or `es`, and what follows it.
    #[must_use]
    pub const fn what(self) -> (&'static str, &'static str) {
        match self {
            Self::LiveFull => {
                ("allocation", "not recorded: the table of live allocations was full")
            }
            Self::StacksFull => ("allocation", "without a stack: the table of stacks was full"),
            Self::TotalsFull => ("allocation", "not recorded: the table of totals was full"),
            Self::ThreadsFull => ("allocation", "not recorded: too many threads"),
            Self::CallsTooDeep => ("allocation", "not recorded: allocator calls nested too deeply"),
            Self::ReturnWithoutCall => ("return", "from allocator calls that began before tracing"),
            Self::CallWithoutReturn => ("allocator call", "whose return was not seen"),
            Self::ReleaseMissed => {
                ("release", "not seen; found out when the address was used again")
            }
            Self::ResultUnreadable => ("allocation", "whose address could not be read"),
            Self::EventsFull => ("name", "of Python functions delayed: the event buffer was full"),
            Self::CodesFull => {
                ("Python frame", "without a name: the table of code objects was full")
            }
            Self::PeakUncertain => ("change", "that the composition of the peak may have missed"),
            Self::ProcessesFull => ("process", "not followed: there were too many"),
            Self::PagesFull => {
                ("event", "not recorded, touches of pages and mappings: their buffer was full")
            }
            Self::KillsFull => ("kill", "not told of: the buffer of kills was full"),
            Self::KillUnreadable => ("kill", "of processes that could not be told"),
            Self::ProgramSkipped => {
                ("event", "not seen: system calls, starts and ends of any process")
            }
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::LiveFull => "raise --max-live, or use --sample 64KiB",
            Self::StacksFull | Self::TotalsFull => "raise --max-stacks",
            Self::ThreadsFull | Self::ProcessesFull => "trace fewer processes at once",
            Self::KillsFull => "processes that were traced have a report all the same",
            Self::CallsTooDeep | Self::ResultUnreadable | Self::KillUnreadable => {
                "please report this with the workload"
            }
            Self::ReturnWithoutCall => "expected in the first moment after attaching",
            Self::CallWithoutReturn => "a thread ended or jumped out of the allocator",
            Self::ReleaseMissed => {
                "the totals have been corrected; until then it counted as live. How it was \
                 released is not known: while attaching, by a forked helper, or by a function \
                 that is not traced"
            }
            Self::EventsFull => {
                "the names came with a later allocation, or those frames show as missing"
            }
            Self::CodesFull => "trace for a shorter time",
            Self::ProgramSkipped => {
                "the kernel saw them while the same processor was at another one: mappings that \
                 were made or returned then may be counted wrongly"
            }
            Self::PagesFull => "these pages count for the nearest ones that were recorded",
            Self::PeakUncertain => {
                "the peak's total is right; its split may be off by as many \
                                    allocations"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_dense() {
        for (index, loss) in Loss::ALL.into_iter().enumerate() {
            assert_eq!(loss as usize, index);
        }
    }
}
