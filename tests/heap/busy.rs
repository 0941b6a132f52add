//! Readings of a heap while threads change it.

use std::{process::Command, time::Instant};

use memtrace::heap::{Chunk, State};

use super::heap_of;
use crate::support::{
    observe::cycles,
    workload::{Workload, compile},
};

/// A block that stays: where its memory is, and how much of it.
type Staying = (u64, u64);

/// The workload, and its blocks that stay.
fn start(threads: &str, arenas: &str) -> (Workload, Vec<Staying>) {
    let program = compile("heap_busy", &[]);
    let mut workload = Workload::start(Command::new(program).args([threads, arenas]));
    workload.go();
    let lines = workload.expect("done");
    let staying = |line: &String| -> Option<Staying> {
        let (address, usable) = line.strip_prefix("stays ")?.split_once(' ')?;
        Some((address.parse().ok()?, usable.parse().ok()?))
    };
    let staying: Vec<_> = lines.iter().filter_map(staying).collect();
    assert!(staying.len() >= 400);
    (workload, staying)
}

/// Each block that stays must be a live chunk of its size in every reading, or lie where the reading
/// says that it knows nothing; that must be little, whatever else the machine does.
fn check(threads: &str, arenas: &str, readings: u32, most_unknown: f64) {
    let (mut workload, staying) = start(threads, arenas);
    let (mut looks, mut unknown, mut size, start) = (0, 0, 0, Instant::now());
    for reading in 0..readings {
        let heap = heap_of(workload.pid());
        let mut chunks: Vec<_> = heap.chunks().collect();
        chunks.sort_unstable_by_key(|chunk| chunk.address);
        let wrong: Vec<_> = staying.iter().filter_map(|block| wrong(&chunks, *block)).collect();
        assert!(wrong.is_empty(), "reading {reading}: {:?} {wrong:x?}", heap.doubts);
        let of = |chunk: &Chunk| if chunk.state == State::Unknown { chunk.size } else { 0 };
        unknown += chunks.iter().map(of).sum::<u64>();
        size += chunks.iter().map(|chunk| chunk.size).sum::<u64>();
        looks += heap.looks;
    }
    let share = 100.0 * unknown as f64 / size as f64;
    let took = start.elapsed();
    println!(
        "{threads} threads, {arenas} arenas: {readings} readings of {} MiB in {took:?}: {looks} \
         further looks, {share:.3} % unknown",
        (size / u64::from(readings)) >> 20,
    );
    assert!(workload.is_running());
    assert!(share < most_unknown, "{share}");
    assert!(looks > 0, "the heap did change while it was read");
}

#[test]
fn a_heap_that_changes_is_read_again_and_again_without_a_wrong_chunk() {
    check("4", "64", 2 * cycles(), 20.0);
}

#[test]
fn arenas_that_threads_contend_for_are_read_right() {
    check("8", "2", cycles().div_ceil(2), 80.0);
    check("4", "1", cycles().div_ceil(2), 80.0);
}

/// What is said of a block that stays, unless it is right or that nothing is known.
fn wrong(chunks: &[Chunk], (address, usable): Staying) -> Option<(u64, u64, Option<Chunk>)> {
    let behind = chunks.partition_point(|chunk| chunk.address < address);
    let chunk = chunks[..behind].last().filter(|chunk| chunk.end() >= address);
    let is_right = chunk.is_some_and(|chunk| {
        let is_it = chunk.memory() == address && chunk.usable() == usable;
        chunk.state == State::Unknown || is_it && chunk.state == State::Live
    });
    (!is_right).then(|| (address, usable, chunk.copied()))
}
