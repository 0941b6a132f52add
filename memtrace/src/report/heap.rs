//! A heap for people: a picture of where its memory is, and sentences with numbers.

mod strip;

use std::io::Write;

use anyhow::{Context as _, Result};

use super::units::{Count, Share, Size};
use crate::heap::{Account, Accounts, Advice, Basis, Heap, Remedy};

/// Less than this is not worth a sentence.
const WORTH_BYTES: u64 = 1 << 20;

/// Writes the picture, an SVG, with `subject` (`python3 (4242)`) in its title.
pub fn write(heap: &Heap, subject: &str, mut to: impl Write) -> Result<()> {
    let svg = strip::draw(heap, subject);
    to.write_all(svg.as_bytes()).and_then(|()| to.flush()).context("write the picture of the heap")
}

/// Where the heap's memory is and what could be done about it; one sentence or two each.
#[must_use]
pub fn sentences(heap: &Heap, accounts: &Accounts) -> Vec<String> {
    let mut sentences = vec![summary(heap, &accounts.total)];
    let advice = Advice::on(heap, accounts);
    let worth = advice.iter().filter(|advice| advice.bytes >= WORTH_BYTES);
    sentences.extend(worth.map(sentence));
    sentences.extend(heap.doubts.iter().cloned());
    sentences
}

fn summary(heap: &Heap, total: &Account) -> String {
    let arenas = match heap.arenas.len() {
        1 => "1 arena".to_owned(),
        count => format!("{count} arenas"),
    };
    format!(
        "glibc {}, {arenas}: {} resident, of which {} live in {} blocks and {} free.",
        heap.layout.version,
        Size(total.resident),
        Size(total.live_resident),
        Count(total.live_chunks),
        Size(total.free_resident()),
    )
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
            "{arenas} thread arenas hold {bytes} free that other threads cannot use: \
             MALLOC_ARENA_MAX=2 might save a part of it, at the price of waiting ({basis})."
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

/// The part of what is resident that is live.
fn live_share(account: &Account) -> Share {
    Share(account.live_resident, account.resident)
}
