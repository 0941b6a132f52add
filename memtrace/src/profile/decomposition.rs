//! What the resident memory of a process consists of, in classes that add up to what the kernel
//! counts. What they do not explain is a number of its own.

use serde::{Deserialize, Serialize};

use super::Profile;

/// The resident memory of a process at one moment, taken apart. Sizes are bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decomposition {
    /// What the kernel counts: `VmRSS`.
    pub resident: u64,
    /// Each class that has any memory, once, in the order of [`Class::ALL`].
    pub parts: Vec<Part>,
    /// Recorded memory that is live but not resident: never touched, returned, or swapped out.
    pub absent: u64,
    /// Swapped out.
    pub swapped: u64,
    /// On hugetlbfs: in memory, but no part of `resident`.
    pub huge: u64,
    /// On transparent huge pages: a part of `resident`.
    pub transparent: u64,
    /// By how much `resident` changed while it was looked at.
    pub moved: u64,
}

/// A class and its resident bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What the memory is used for.
    pub class: Class,
    /// How much of it is resident.
    pub bytes: u64,
}

/// What resident memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Allocated and not released, as recorded.
    Live,
    /// The allocator's own: headers and rounding.
    Overhead,
    /// Released to the allocator, which keeps it.
    Free,
    /// Anonymous memory of which tracing knows nothing.
    Untraced,
    /// Private copies of pages of files, and the zeroed data behind them.
    Data,
    /// Pages of files: code, constants, mapped data.
    File,
    /// Memory for several processes.
    Shared,
    /// Stacks of threads.
    Stacks,
    /// Mappings of the kernel's own.
    Other,
}

impl Class {
    /// Every class, in the order in which they are shown.
    pub const ALL: [Self; 9] = [
        Self::Live,
        Self::Overhead,
        Self::Free,
        Self::Untraced,
        Self::Data,
        Self::File,
        Self::Shared,
        Self::Stacks,
        Self::Other,
    ];

    /// The name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Overhead => "overhead",
            Self::Free => "free",
            Self::Untraced => "untraced",
            Self::Data => "data",
            Self::File => "file",
            Self::Shared => "shared",
            Self::Stacks => "stacks",
            Self::Other => "other",
        }
    }
}

/// Resident bytes, as measured. The heap is one number, which [`Decomposition::new`] divides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// `VmRSS`.
    pub resident: u64,
    /// Anonymous memory that is none of the classes below.
    pub heap: u64,
    /// Recorded live memory, resident or not; `None`: not known, as after the probes are gone.
    pub live: Option<Live>,
    /// What the allocator says of itself; `None`: not known.
    pub allocator: Option<Allocator>,
    /// See [`Class::Data`].
    pub data: u64,
    /// See [`Class::File`].
    pub file: u64,
    /// See [`Class::Shared`].
    pub shared: u64,
    /// See [`Class::Stacks`].
    pub stacks: u64,
    /// See [`Class::Other`].
    pub other: u64,
}

/// Recorded live memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// In memory.
    pub resident: u64,
    /// Not in memory.
    pub absent: u64,
}

/// Resident memory that an allocator uses for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allocator {
    /// Headers and rounding of live blocks, as far as they were recorded, and its own data.
    pub overhead: u64,
    /// Free blocks.
    pub free: u64,
}

impl Decomposition {
    /// Divides the heap: what is live comes first, then what the allocator knows, and what is left
    /// is untraced. No class gets more than there is, so that the sum stays right.
    #[must_use]
    pub fn new(measured: &Measured) -> Self {
        let mut left = measured.heap;
        let mut take = |wanted: u64| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let known = measured.live.unwrap_or_default();
        let allocator = measured.allocator.unwrap_or_default();
        let (live, overhead) = (take(known.resident), take(allocator.overhead));
        let free = take(allocator.free);
        let Measured { data, file, shared, stacks, other, .. } = *measured;
        let bytes = [live, overhead, free, left, data, file, shared, stacks, other];
        let parts = Class::ALL.into_iter().zip(bytes).filter(|(_, bytes)| *bytes > 0);
        Self {
            resident: measured.resident,
            parts: parts.map(|(class, bytes)| Part { class, bytes }).collect(),
            absent: known.absent.saturating_add(known.resident - live),
            ..Self::default()
        }
    }

    /// Resident bytes of a class.
    #[must_use]
    pub fn of(&self, class: Class) -> u64 {
        self.parts.iter().find(|part| part.class == class).map_or(0, |part| part.bytes)
    }

    fn plus(&self, other: &Self) -> Self {
        let bytes = |class| self.of(class).saturating_add(other.of(class));
        let parts = Class::ALL.map(|class| Part { class, bytes: bytes(class) });
        Self {
            resident: self.resident.saturating_add(other.resident),
            parts: parts.into_iter().filter(|part| part.bytes > 0).collect(),
            absent: self.absent.saturating_add(other.absent),
            swapped: self.swapped.saturating_add(other.swapped),
            huge: self.huge.saturating_add(other.huge),
            transparent: self.transparent.saturating_add(other.transparent),
            moved: self.moved.saturating_add(other.moved),
        }
    }

    /// What all classes add up to.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).fold(0, u64::saturating_add)
    }

    /// What the kernel counts and no class explains; negative if the classes explain more. The
    /// kernel's count lags behind by some pages for each thread or processor.
    #[must_use]
    pub fn remainder(&self) -> i64 {
        let remainder = i128::from(self.resident) - i128::from(self.sum());
        let bound = |limit: i64| i128::from(limit);
        remainder.clamp(bound(i64::MIN), bound(i64::MAX)) as i64
    }
}

impl Profile {
    /// The sum over all processes that could be looked at; `None`: none could. Memory that several
    /// of them share is in it for each, as it is in their RSS.
    #[must_use]
    pub fn decomposition(&self) -> Option<Decomposition> {
        let known = self.processes.iter().filter_map(|process| process.decomposition.as_ref());
        known.cloned().reduce(|sum, other| sum.plus(&other))
    }
}

/// Shared memory that traced processes have mapped, each of its pages counted once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Path or name, with its kind.
    pub name: String,
    /// Bytes in memory that at least one of the processes has mapped.
    pub resident: u64,
    /// Whether `resident` was counted page by page; else it is what one of the processes has.
    pub exact: bool,
    /// Who maps it.
    pub users: Vec<User>,
}

/// A process that maps a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Index into [`Profile::processes`].
    pub process: u32,
    /// Bytes that count in its RSS: a page as often as it is mapped.
    pub resident: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEASURED: Measured = Measured {
        resident: 1_000,
        heap: 600,
        live: Some(Live { resident: 350, absent: 50 }),
        allocator: None,
        data: 40,
        file: 200,
        shared: 100,
        stacks: 30,
        other: 0,
    };

    #[test]
    fn classes_and_remainder_add_up() {
        let decomposition = Decomposition::new(&MEASURED);
        assert_eq!((decomposition.of(Class::Live), decomposition.of(Class::Untraced)), (350, 250));
        assert_eq!((decomposition.sum(), decomposition.remainder()), (970, 30));
        assert_eq!(decomposition.absent, 50);
        assert!(decomposition.parts.iter().all(|part| part.class != Class::Other), "it is empty");
    }

    #[test]
    fn the_allocators_own_account_splits_what_is_untraced() {
        let allocator = Some(Allocator { overhead: 20, free: 130 });
        let split = Decomposition::new(&Measured { allocator, ..MEASURED });
        let classes = [Class::Live, Class::Overhead, Class::Free, Class::Untraced];
        assert_eq!(classes.map(|class| split.of(class)), [350, 20, 130, 100]);
        assert_eq!(split.sum(), Decomposition::new(&MEASURED).sum());
    }

    #[test]
    fn nothing_is_larger_than_the_heap() {
        let live = Some(Live { resident: 700, absent: 0 });
        let allocator = Some(Allocator { overhead: 20, free: u64::MAX });
        let decomposition = Decomposition::new(&Measured { live, allocator, ..MEASURED });
        assert_eq!((decomposition.of(Class::Live), decomposition.absent), (600, 100));
        assert_eq!(decomposition.sum(), 970);
    }

    #[test]
    fn processes_add_up() {
        let process = |measured: Option<&Measured>| super::super::Process {
            decomposition: measured.map(Decomposition::new),
            ..Default::default()
        };
        let mut profile = Profile::default();
        assert_eq!(profile.decomposition(), None);
        let other = Measured { other: 7, ..MEASURED };
        profile.processes = vec![process(Some(&MEASURED)), process(None), process(Some(&other))];
        let sum = profile.decomposition().unwrap();
        assert_eq!((sum.resident, sum.of(Class::Live), sum.of(Class::Other)), (2_000, 700, 7));
        assert_eq!((sum.remainder(), sum.absent), (53, 100));
    }

    #[test]
    fn absurd_sizes_saturate() {
        let absurd = Measured { data: u64::MAX, file: u64::MAX, ..MEASURED };
        let decomposition = Decomposition::new(&absurd);
        assert_eq!(decomposition.sum(), u64::MAX);
        assert!(decomposition.remainder() < 0);
    }
}
