//! Readings of a heap while threads change it.

use std::{process::Command, time::Instant};

use memtrace::heap::{Heap, State};

use super::heap_of;
use crate::support::workload::{Workload, compile};

const READINGS: usize = 200;

/// Readings of a heap that four threads change all the time. Blocks that stay must be live chunks
/// of their size in each of them, or lie where the reading says that it knows nothing, which must be
/// little; and nothing may be of a size that the program does not use.
#[test]
fn a_heap_that_changes_is_read_right() {
    let program = compile("heap_busy", &[]);
    let mut workload = Workload::start(&mut Command::new(program));
    let sums = workload.work_and_sum();
    let mut staying = sums.values("staying").chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let staying: Vec<_> = staying.by_ref().collect();
    let (mut looks, mut unknown, mut size, start) = (0, 0, 0, Instant::now());
    for reading in 0..READINGS {
        let heap = heap_of(workload.pid());
        for block in &staying {
            let is_right = is_live(&heap, *block) || is_in_doubt(&heap, block.0);
            assert!(is_right, "reading {reading}: {block:x?}");
        }
        let largest = heap.chunks().filter(|chunk| chunk.state == State::Live);
        let largest = largest.map(|chunk| chunk.size).max().unwrap_or_default();
        assert!(largest <= 100_048, "reading {reading}: {largest} bytes");
        looks += heap.looks;
        size += heap.chunks().map(|chunk| chunk.size).sum::<u64>();
        let lost = heap.chunks().filter(|chunk| chunk.state == State::Unknown);
        unknown += lost.map(|chunk| chunk.size).sum::<u64>();
    }
    let share = 100.0 * (1.0 - unknown as f64 / size as f64);
    println!(
        "{READINGS} readings in {:?}: {looks} second looks, {share:.4} % walked",
        start.elapsed()
    );
    assert!(workload.is_running());
    assert!(share > 99.9, "{share}");
    assert!(looks > 0, "the heap did change while it was read");
}

/// Whether the reading was given up where the address is.
fn is_in_doubt(heap: &Heap, address: u64) -> bool {
    heap.chunks().filter(|chunk| chunk.state == State::Unknown).any(|chunk| {
        let start = chunk.memory() - 16;
        (start..start + chunk.size).contains(&address)
    })
}

/// The chunk may be up to 16 bytes larger than what was asked for, rounded.
fn is_live(heap: &Heap, (address, usable): (u64, u64)) -> bool {
    heap.chunks().any(|chunk| {
        chunk.memory() == address && chunk.usable() == usable && chunk.state == State::Live
    })
}
