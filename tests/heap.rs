//! Heaps of known shapes: every chunk, against what the program and glibc say of the same moment.

/// Threads that allocate all the time.
mod busy;
/// Who pins free memory.
mod fragmentation;
/// What `malloc_trim(0)` gives back, foretold.
mod trim;

use std::process::Command;

use memtrace::{
    heap::{Accounts, Heap, State},
    process::Process,
};

use crate::support::{
    observe::patience,
    workload::{Sums, Workload, compile},
};

/// A program with a heap of this shape, which it has built and told of.
fn shaped(shape: &str) -> (Workload, Sums) {
    let mut workload = Workload::start(Command::new(compile("heap", &[])).arg(shape));
    let sums = workload.work_and_sum();
    (workload, sums)
}

/// Reads a heap, for longer than a user waits.
fn heap_of(pid: u32) -> Heap {
    let process = Process::open(pid).expect("it runs");
    let mappings = process.mappings().expect("they can be read");
    Heap::of_process(&process, &mappings, patience()).expect("it has a heap")
}

/// The accounts; what is charged to chunks is checked to be what is pinned.
fn accounts_of(heap: &Heap) -> Accounts {
    let mut charged = 0;
    let accounts = heap.accounts(&mut |_: &_, bytes: u64| charged += bytes);
    assert_eq!(charged, accounts.total.pinned);
    for account in &accounts.arenas {
        let parts = account.live + account.own + account.free() + account.unknown;
        assert_eq!(account.size, parts, "every byte is one thing");
        assert_eq!(account.free(), account.free_resident() + account.returned);
    }
    accounts
}

const SHAPES: [&str; 9] =
    ["fresh", "interleaved", "small", "pages", "sparse", "top", "threads", "mapped", "kept_top"];

#[test]
fn sums_are_those_of_mallinfo() {
    for shape in SHAPES {
        let (workload, sums) = shaped(shape);
        let heap = heap_of(workload.pid());
        let accounts = accounts_of(&heap);
        assert_eq!(heap.doubts, [], "{shape}");
        let [system, used, free, fast, top, mapped, mapped_bytes] = sums.values("mallinfo") else {
            panic!("seven numbers")
        };
        let total = &accounts.total;
        let walked = total.size - accounts.mapped.size;
        // mallinfo takes what threads keep in their caches for used.
        let walked_free = total.binned + total.fast + total.top;
        assert_eq!((walked_free, total.fast), (*free, *fast), "{shape}");
        assert_eq!(walked - walked_free, *used, "{shape}");
        assert_eq!(accounts.arenas[0].top, *top, "{shape}");
        assert_eq!(heap.arenas.iter().map(|arena| arena.system_bytes).sum::<u64>(), *system);
        assert_eq!((heap.mapped.len() as u64, accounts.mapped.size), (*mapped, *mapped_bytes));
    }
}

#[test]
fn live_blocks_are_those_of_the_program() {
    // Without threads and with full caches, nothing is live but what the program counts.
    for shape in ["interleaved", "small", "sparse"] {
        let (workload, sums) = shaped(shape);
        let heap = heap_of(workload.pid());
        let live = || heap.chunks().filter(|chunk| chunk.state == State::Live);
        let usable: u64 = live().map(|chunk| chunk.usable()).sum();
        assert_eq!(sums.amounts("live"), [(usable, live().count() as u64)], "{shape}");
        let cached = heap.chunks().filter(|chunk| chunk.state == State::Cached).count();
        assert!(cached > 30, "{shape}: {cached}");
    }
}

#[test]
fn threads_have_arenas_and_caches() {
    let (workload, sums) = shaped("threads");
    let heap = heap_of(workload.pid());
    let accounts = accounts_of(&heap);
    assert_eq!(heap.arenas.len(), 9);
    let chunks: u64 = accounts.arenas.iter().map(|account| account.live_chunks).sum();
    let [_, counted] = sums.values("live") else { panic!("two numbers") };
    // The dynamic loader's table for each thread.
    assert_eq!(chunks, counted + 8);
    for account in &accounts.arenas[1..] {
        assert!(account.cached > 64 << 10 && account.pinned > 1 << 20, "{account:?}");
    }
}

#[test]
fn a_program_without_a_known_glibc_is_refused() {
    let cases: [(&str, &[&str], &str); 2] = [
        ("no_libc", &["-static", "-nostdlib", "-s"], "no mapped file holds glibc's malloc"),
        ("simple", &["-static"], "glibc is linked into the program"),
    ];
    for (name, options, reason) in cases {
        let workload = Workload::start(&mut Command::new(compile(name, options)));
        let process = Process::open(workload.pid()).expect("it runs");
        let mappings = process.mappings().expect("they can be read");
        let refused = Heap::of_process(&process, &mappings, patience());
        let error = format!("{:#}", refused.expect_err("it has no heap that is known"));
        assert!(error.contains(reason), "{error}");
    }
}
