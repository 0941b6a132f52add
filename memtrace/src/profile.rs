//! What was measured: processes, stacks and the memory that each holds. Pure: no files, no
//! clock, no process is looked up; whoever fills it in knows those.

mod advice;
mod allocator;
mod budget;
mod builder;
mod decomposition;
#[cfg(test)]
pub mod example;
mod files;
mod fragmentation;
mod frame;
mod group;
mod incident;
mod lines;
mod place;
mod process;
mod residence;
mod role;
mod session;
mod source;
mod timeline;
mod usual;

use std::{
    iter::Sum,
    ops::{Add, AddAssign},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use self::{
    advice::{Advice, Largest, Subject},
    budget::{BasisPoints, Shed},
    builder::Builder,
    decomposition::{Allocator, Class, Decomposition, Live, Measured, Part, Segment, User},
    fragmentation::{Arena, Heap},
    frame::{Frame, Location, printable, printable_sentence},
    group::Group,
    incident::{Cause, Counted, Evidence, Incident, Limit, Member},
    lines::Line,
    place::Place,
    process::{Calls, Process, Sharing},
    residence::{PageKind, Residence},
    role::role,
    session::{Cost, Loss, Probe, Session},
    timeline::{AtPeak, ByKind, MAX_POINTS, Point, Recorder, Timeline, Together},
    usual::Usual,
};

/// Everything that a report is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// How it was measured.
    pub session: Session,
    /// The traced processes.
    pub processes: Vec<Process>,
    /// Every distinct frame; stacks refer to them by index.
    pub frames: Vec<Frame>,
    /// Every distinct stack of each process.
    pub stacks: Vec<Stack>,
    /// Memory over time.
    pub timeline: Timeline,
    /// Shared memory that the processes have mapped, most resident first.
    pub segments: Vec<Segment>,
    /// The control groups that limit the processes' memory.
    pub groups: Vec<Group>,
    /// Why it was written down, if that was because of a kill.
    pub incident: Option<Incident>,
    /// What could not be recorded.
    pub losses: Vec<Loss>,
    /// What else the reader must know, one sentence each.
    pub notes: Vec<String>,
}

/// A place in a program, and the memory that was allocated there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Index into [`Profile::processes`]: the root of the stack.
    pub process: u32,
    /// Indices into [`Profile::frames`], outermost first.
    pub frames: Vec<u32>,
    /// Memory allocated with exactly this stack.
    pub amounts: Amounts,
}

/// Which memory a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// Allocated and not released.
    #[default]
    Live,
    /// Live at the moment when the process had most live memory.
    Peak,
    /// Allocated since tracing began, released or not.
    Allocated,
    /// In memory at the end of tracing, by who touched it first.
    Resident,
    /// Free, but in memory at the end of tracing: for those whose blocks keep it there.
    Fragmentation,
    /// Of forked processes: what was live in the parent when they began. Both have it, until one
    /// writes to it.
    Inherited,
}

impl View {
    /// Every view.
    pub const ALL: [Self; 6] = [
        Self::Live,
        Self::Peak,
        Self::Allocated,
        Self::Resident,
        Self::Fragmentation,
        Self::Inherited,
    ];

    /// The name that users type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Peak => "peak",
            Self::Allocated => "allocated",
            Self::Resident => "resident",
            Self::Fragmentation => "fragmentation",
            Self::Inherited => "inherited",
        }
    }
}

/// Memory, in each of the views.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// Allocated and not released.
    pub live: Amount,
    /// Live at the peak of the process.
    pub peak: Amount,
    /// Allocated since tracing began.
    pub allocated: Amount,
    /// The part of `live` that is not in memory: never touched, returned, or swapped out. Of blocks
    /// too small to be looked at one by one there is none.
    pub absent: Amount,
    /// In memory at the end of tracing; the objects are pages.
    pub resident: Amount,
    /// The part of it that is shared memory.
    pub shared: Amount,
    /// Free memory on the pages of its blocks, its share of it; the objects are those blocks.
    pub fragmentation: Amount,
    /// What a forked process had from its parent at its beginning.
    pub inherited: Amount,
}

impl Amounts {
    /// The amount in one view.
    #[must_use]
    pub const fn of(&self, view: View) -> Amount {
        match view {
            View::Live => self.live,
            View::Peak => self.peak,
            View::Allocated => self.allocated,
            View::Resident => self.resident,
            View::Fragmentation => self.fragmentation,
            View::Inherited => self.inherited,
        }
    }
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        self.live += other.live;
        self.peak += other.peak;
        self.allocated += other.allocated;
        self.absent += other.absent;
        self.resident += other.resident;
        self.shared += other.shared;
        self.fragmentation += other.fragmentation;
        self.inherited += other.inherited;
    }
}

impl Sum for Amounts {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), |mut sum, amount| {
            sum += amount;
            sum
        })
    }
}

/// An amount of memory. Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Amount {
    /// As asked for by the program, without the allocator's overhead.
    pub bytes: u64,
    /// Number of allocations; an estimate when sampled.
    pub objects: u64,
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            objects: self.objects.saturating_add(other.objects),
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Add::add)
    }
}

/// How much of the recorded memory has stacks to blame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// What the processes counted.
    pub counted: Amount,
    /// What the stacks add up to; less than counted when stacks were lost.
    pub stacks: Amount,
    /// The part of the stacks' sum in whose stacks frames are missing.
    pub incomplete: Amount,
}

impl Profile {
    /// The sum over all stacks.
    #[must_use]
    pub fn total(&self, view: View) -> Amount {
        self.stacks.iter().map(|stack| stack.amounts.of(view)).sum()
    }

    /// The sum over all processes, each at its own peak.
    #[must_use]
    pub fn counted(&self) -> Amounts {
        self.processes.iter().map(|process| process.amounts).sum()
    }

    /// What processes that had ended while others ran held at their end: a part of what is called
    /// live.
    #[must_use]
    pub fn past(&self) -> Option<Amount> {
        let past: Amount = self.gone().map(|process| process.amounts.live).sum();
        (past.bytes > 0).then_some(past)
    }

    /// Processes that had ended while others ran. Those that ended in the last second ended together.
    pub fn gone(&self) -> impl Iterator<Item = &Process> {
        let runs = self.processes.iter().any(|process| process.ended.is_none());
        let last = self.processes.iter().filter_map(|process| process.ended).max();
        let last = last.unwrap_or_default();
        let is_gone = move |ended: Duration| runs || ended + Duration::from_secs(1) < last;
        self.processes.iter().filter(move |process| process.ended.is_some_and(is_gone))
    }

    /// How much of the recorded memory has stacks.
    #[must_use]
    pub fn coverage(&self, view: View) -> Coverage {
        let incomplete = self.stacks.iter().filter(|stack| self.has_gap(stack));
        Coverage {
            counted: self.counted().of(view),
            stacks: self.total(view),
            incomplete: incomplete.map(|stack| stack.amounts.of(view)).sum(),
        }
    }

    fn has_gap(&self, stack: &Stack) -> bool {
        stack.frames.iter().any(|&frame| matches!(self.frames[frame as usize], Frame::Gap { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::{example, *};

    #[test]
    fn sums_saturate() {
        let most = Amount { bytes: u64::MAX, objects: 1 };
        assert_eq!([most, most].into_iter().sum::<Amount>().bytes, u64::MAX);
    }

    #[test]
    fn coverage_tells_missing_stacks_from_incomplete_ones() {
        let coverage = example::profile().coverage(View::Live);
        assert_eq!(coverage.counted.bytes - coverage.stacks.bytes, example::WITHOUT_STACK);
        assert_eq!(coverage.incomplete.bytes, 9 << 20);
    }
}
