//! What could be done about free memory that stays resident, in numbers: how much each remedy may
//! give back, and whether that was measured or is an estimate.

use super::{
    account::Accounts,
    chunk::{Chunk, State},
    memory::PAGE,
    read::{Heap, Part},
};

/// The threshold that glibc starts with, and that a program would fix it at.
const THRESHOLD: u64 = 128 << 10;

/// With so many arenas of threads, and the main arena, there are more than a `MALLOC_ARENA_MAX` of 2
/// would allow.
const FEW_ARENAS: usize = 2;

/// A remedy and what it may give back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What to do.
    pub remedy: Remedy,
    /// Resident bytes that it gives back: exactly if measured, at most if estimated.
    pub bytes: u64,
    /// How that is known.
    pub basis: Basis,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Call `malloc_trim(0)`.
    Trim {
        /// Free bytes that it leaves because live chunks are on their pages.
        pinned: u64,
        /// Free bytes that it leaves on pages that are free.
        kept: u64,
    },
    /// Set `MALLOC_ARENA_MAX`.
    FewerArenas {
        /// Arenas besides the main one.
        arenas: usize,
    },
    /// Fix `M_MMAP_THRESHOLD`, so that large blocks get mappings of their own and leave at once.
    FixedThreshold {
        /// The size from which on blocks have mappings of their own now.
        threshold: u64,
        /// Live blocks between the fixed threshold and that.
        chunks: u64,
        /// Their bytes.
        live: u64,
    },
    /// Use another allocator, one that keeps blocks of different sizes on different pages.
    OtherAllocator,
}

/// How a number is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// It follows from what was read.
    Measured,
    /// It is what could be given back at most, if the program does the same again.
    Estimated,
}

impl Advice {
    /// Everything that may give something back, most first.
    #[must_use]
    pub fn on(heap: &Heap, accounts: &Accounts) -> Vec<Self> {
        let all = [
            Some(trim(accounts)),
            fewer_arenas(heap, accounts),
            fixed_threshold(heap),
            Some(other_allocator(accounts)),
        ];
        let mut advice: Vec<_> = all.into_iter().flatten().collect();
        // That trimming would not help is worth knowing.
        advice.retain(|advice| advice.bytes > 0 || advice.pinned() > 0);
        advice.sort_by_key(|advice| (advice.basis == Basis::Estimated, u64::MAX - advice.bytes));
        advice
    }
}

impl Advice {
    /// What trimming would leave on pages with live chunks; of other remedies nothing.
    #[must_use]
    pub const fn pinned(&self) -> u64 {
        match self.remedy {
            Remedy::Trim { pinned, .. } => pinned,
            _ => 0,
        }
    }
}

fn trim(accounts: &Accounts) -> Advice {
    let total = &accounts.total;
    Advice {
        remedy: Remedy::Trim { pinned: total.pinned, kept: total.kept },
        bytes: total.trimmable,
        basis: Basis::Measured,
    }
}

/// What is free in one arena cannot serve the threads of another one.
fn fewer_arenas(heap: &Heap, accounts: &Accounts) -> Option<Advice> {
    let of_threads = heap.arenas.iter().zip(&accounts.arenas).filter(|(arena, _)| !arena.is_main);
    let arenas = of_threads.clone().count();
    let bytes = of_threads.map(|(_, account)| account.free_resident()).sum();
    let remedy = Remedy::FewerArenas { arenas };
    (arenas >= FEW_ARENAS).then_some(Advice { remedy, bytes, basis: Basis::Estimated })
}

/// Each time a mapped block is freed, glibc raises the threshold to its size, up to 32 MiB: from
/// then on such blocks come from arenas, and what they leave is given back at the end only.
fn fixed_threshold(heap: &Heap) -> Option<Advice> {
    let threshold = heap.parameters.mmap_threshold;
    if heap.parameters.fixed_thresholds || threshold <= THRESHOLD {
        return None;
    }
    let (mut chunks, mut live, mut bytes) = (0, 0, 0);
    for part in heap.parts() {
        for chunk in part.chunks.iter().filter(|chunk| chunk.size >= THRESHOLD) {
            match chunk.state {
                State::Live => (chunks, live) = (chunks + 1, live + chunk.size),
                State::Binned => bytes += resident(part, &chunk),
                _ => {}
            }
        }
    }
    let remedy = Remedy::FixedThreshold { threshold, chunks, live };
    Some(Advice { remedy, bytes, basis: Basis::Estimated })
}

/// Bytes of the chunk's own pages that are in memory.
fn resident(part: &Part, chunk: &Chunk) -> u64 {
    let first = chunk.address.next_multiple_of(PAGE);
    let pages = (first..chunk.end() / PAGE * PAGE).step_by(PAGE as usize);
    pages.filter(|page| part.is_resident(*page)).count() as u64 * PAGE
}

fn other_allocator(accounts: &Accounts) -> Advice {
    let (remedy, bytes) = (Remedy::OtherAllocator, accounts.total.pinned);
    Advice { remedy, bytes, basis: Basis::Estimated }
}
