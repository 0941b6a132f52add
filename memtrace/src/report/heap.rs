//! A heap for people, in sentences with numbers.

use super::units::{Count, Elapsed, Size, Things};
use crate::{
    heap::{Advice, Basis, Doubt, Remedy},
    profile::printable,
    snapshot::Glibc,
};

/// Less than this is not worth a sentence.
const WORTH_BYTES: u64 = 1 << 20;

/// Where the heap's memory is and what could be done about it; one sentence or two each.
#[must_use]
pub fn sentences(glibc: &Glibc) -> Vec<String> {
    let mut sentences = vec![summary(glibc)];
    sentences.extend(advice(&glibc.advice));
    sentences.extend(glibc.doubts.iter().map(doubt));
    sentences
}

fn summary(Glibc { version, arenas, total, .. }: &Glibc) -> String {
    format!(
        "glibc {}, {}: {} resident, of which {} live in {} and {} free.",
        printable(version),
        Things(arenas.len() as u64, "arena"),
        Size(total.resident),
        Size(total.live_resident),
        Things(total.live_chunks, "block"),
        Size(total.free_resident()),
    )
}

/// What could be done that is worth it, and what that would give back.
pub(super) fn advice(advice: &[Advice]) -> impl Iterator<Item = String> {
    let is_worth = |advice: &&Advice| advice.bytes.max(advice.pinned()) >= WORTH_BYTES;
    advice.iter().filter(is_worth).map(sentence)
}

fn sentence(advice: &Advice) -> String {
    let bytes = Size(advice.bytes);
    let basis = match advice.basis {
        Basis::Measured => "measured",
        Basis::Estimated => "estimated",
    };
    match advice.remedy {
        Remedy::Trim { pinned, kept } => format!(
            "malloc_trim(0) would return {bytes} ({basis}); it would leave {} free on pages with \
             live blocks, and {} on others.",
            Size(pinned),
            Size(kept)
        ),
        Remedy::FewerArenas { arenas } => format!(
            "{} of threads hold {bytes} free, which other threads cannot use: MALLOC_ARENA_MAX=2 might \
             save a part of it, at the price of waiting ({basis}).",
            Things(arenas as u64, "arena")
        ),
        Remedy::FixedThreshold { threshold, .. } => format!(
            "Blocks up to {} are cut from arenas by now: MALLOC_MMAP_THRESHOLD_=131072 would \
             return those from 128 KiB on when they are freed, up to {bytes} ({basis}).",
            Size(threshold)
        ),
        Remedy::OtherAllocator => format!(
            "Live blocks pin {bytes}: an allocator that keeps sizes apart, such as jemalloc or \
             mimalloc, might need only a part of that ({basis})."
        ),
    }
}

/// What may be wrong or missing.
pub(super) fn doubt(doubt: &Doubt) -> String {
    match *doubt {
        Doubt::Arenas => "The list of arenas could not be followed to its end.".into(),
        Doubt::Arena(bytes) => {
            format!("Nothing of an arena of {} could be read.", Size(bytes))
        }
        Doubt::Elsewhere(bytes) => format!(
            "{} of the main arena are not where the rest is, and were not found: brk could not give \
             them.",
            Size(bytes)
        ),
        Doubt::Unknown(bytes) => format!(
            "{} of the arenas could not be read: they changed or went away, held too many blocks, or \
             are another user's of brk.",
            Size(bytes)
        ),
        Doubt::Fast(arenas) => {
            format!(
                "The fastbins of {} changed while they were read, or are too long.",
                Things(arenas as u64, "arena")
            )
        }
        Doubt::Caches(threads) => {
            format!(
                "The caches of {} changed while they were read, or are too long.",
                Things(threads as u64, "thread")
            )
        }
        Doubt::Mapped { counted, counted_bytes, found, found_bytes, is_changing } => format!(
            "malloc counts {} of {} with mappings of their own{}; found were {} of {}.",
            Things(counted, "block"),
            Size(counted_bytes),
            if is_changing { ", and goes on changing them" } else { "" },
            Count(found),
            Size(found_bytes)
        ),
        Doubt::Late(limit) => {
            format!("Reading the heap was ended after {}: there was more.", Elapsed(limit))
        }
    }
}
