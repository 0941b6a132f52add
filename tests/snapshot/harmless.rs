//! The process does not notice: nothing is attached to it, nothing is brought into memory, and
//! however it moves, each snapshot ends.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use super::{take, threads};
use crate::support::{
    observe,
    workload::{self, Workload},
};

/// Threads that allocate, release, wait, start and end.
const BUSY: &str = "
import sys, threading, time
def grow():
    kept = {}
    for number in range(10**9):
        kept[number % 50_000] = [str(number)] * (number % 100)
def nap():
    while True:
        bytearray(200_000)
        time.sleep(0.001)
def spawn():
    while True:
        thread = threading.Thread(target=sorted, args=(range(1000),))
        thread.start()
        thread.join()
for work in [grow, grow, nap, nap, spawn]:
    threading.Thread(target=work, daemon=True).start()
print('ready', flush=True)
sys.stdin.readline()
";

#[test]
fn untouched_shared_memory_stays_untouched() {
    let script = "import mmap, sys, time; m = mmap.mmap(-1, 64 << 20); m[5 << 20] = 1;\
                  print('ready', flush=True); sys.stdin.readline()";
    let workload = Workload::start(Command::new(workload::main_python()).args(["-c", script]));
    // To wait for a line takes memory as well.
    observe::wait_until("it waits", || observe::state(workload.pid()) == 'S');
    let before = observe::resident(workload.pid());
    let snapshot = take(workload.pid());
    assert_eq!(observe::resident(workload.pid()), before);
    let cost = &snapshot["cost"];
    assert_eq!(cost["rss_bytes_before"], cost["rss_bytes_after"]);
    assert_eq!(
        (&cost["interrupted_threads"], &cost["interrupted_seconds"]),
        (&0.into(), &0.0.into())
    );
    assert_eq!(observe::breakpoints(workload.pid()), Vec::<u64>::new());
    let shared = snapshot["shared"].as_array().expect("segments");
    let resident = shared.iter().filter_map(|segment| segment["resident_bytes"].as_u64());
    assert_eq!(resident.sum::<u64>(), 4096, "{shared:?}");
}

#[test]
fn a_process_that_runs_and_allocates_is_told_two_hundred_times() {
    let mut command = Command::new(workload::main_python());
    let mut workload = Workload::start(command.args(["-c", BUSY]));
    let (mut longest, mut moving, mut all) = (Duration::ZERO, 0, 0);
    for _ in 0..observe::cycles() {
        let begin = Instant::now();
        let snapshot = take(workload.pid());
        longest = longest.max(begin.elapsed());
        all += threads(&snapshot).len();
        moving += threads(&snapshot).iter().filter(|thread| thread["moment"] == "moving").count();
        assert!(workload.is_running());
    }
    println!("{all} stacks, {moving} not of one moment; longest {longest:?}");
    assert!(moving * 20 < all, "{moving} of {all} stacks are not of one moment");
    assert!(longest < observe::patience() / 3, "{longest:?}");
}
