//! Memory by use adds up to what the kernel counts, and large things have a holder.

use std::{process::Command, time::Instant};

use serde_json::Value;

use super::take;
use crate::support::{
    memtrace, observe,
    report::Report,
    workload::{self, Workload},
};

const SCRIPT: &str = "
import sys, threading
import numpy
held = [numpy.ones((1000, 1000)) for _ in range(100)]
cache = {number: str(number) for number in range(400_000)}
class Worker:
    def __init__(self):
        self.batch = numpy.ones(25_000_000)
def work(worker, lock):
    lock.acquire()
lock = threading.Lock()
lock.acquire()
threading.Thread(target=work, args=(Worker(), lock), daemon=True).start()
print('ready', flush=True)
sys.stdin.readline()
";

#[test]
fn a_gibibyte_is_explained_within_two_seconds() {
    let mut command = Command::new(workload::main_python());
    let workload = Workload::start(command.args(["-c", SCRIPT]));
    let begin = Instant::now();
    let snapshot = take(workload.pid());
    let elapsed = begin.elapsed();
    println!("{elapsed:?} for RSS {}", snapshot["process"]["rss_bytes"]);
    // Two seconds; patience is a minute, or more on slower machines.
    assert!(elapsed < observe::patience() / 30, "{elapsed:?}");
    adds_up(&snapshot);
    let arrays = snapshot["objects"]["arrays"].as_array().expect("arrays");
    assert_eq!(arrays[0]["shape"], Value::from(vec![25_000_000]));
    assert_eq!(arrays[0]["resident_bytes"], arrays[0]["bytes"]);
    assert_eq!(arrays[0]["holder"]["path"], "worker.batch");
    assert_eq!(arrays[0]["holder"]["function"], "work");
    let like = |array: &&Value| array["shape"] == Value::from(vec![1000, 1000]);
    assert_eq!(arrays.iter().filter(like).count(), 100);
    let containers = snapshot["objects"]["containers"].as_array().expect("containers");
    assert_eq!(
        (&containers[0]["length"], &containers[0]["type"]),
        (&400_000.into(), &"dict".into())
    );
    assert_eq!(containers[0]["holder"]["path"], "__main__.cache");
}

/// The classes and what they do not explain are the RSS; the uses of the heap are its class.
fn adds_up(snapshot: &Value) {
    let memory = &snapshot["memory"];
    let sum = |value: &Value| {
        let parts = value.as_object().expect("an object").values();
        parts.map(|bytes| bytes.as_u64().expect("bytes")).sum::<u64>()
    };
    let resident = memory["resident_bytes"].as_i64().expect("bytes");
    let explained = sum(&memory["parts"]).cast_signed();
    assert_eq!(explained + memory["remainder_bytes"].as_i64().expect("bytes"), resident);
    assert_eq!(sum(&snapshot["heap_uses"]), memory["parts"]["untraced"].as_u64().expect("bytes"));
}

/// Objects that refer to others, and what they refer to.
const MANY: &str = "
import sys
class Item:
    def __init__(self, number):
        self.name = str(number)
held = [Item(number) for number in range(2_000_000)]
print('ready', flush=True)
sys.stdin.readline()
";

#[test]
fn millions_of_objects_take_little_memory_to_read() {
    let mut command = Command::new(workload::main_python());
    let workload = Workload::start(command.args(["-c", MANY]));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("snapshot.json");
    let memtrace = memtrace::command();
    // What memtrace may write to of its own, stacks of threads included: allocations beyond fail.
    let limited = format!(
        "ulimit -d $((300 * 1024)); exec {} snapshot --pid {} --output {}",
        memtrace.get_program().to_str().expect("UTF-8"),
        workload.pid(),
        path.display()
    );
    let status = Command::new("bash").args(["-c", &limited]).status().expect("bash runs");
    assert!(status.success());
    let snapshot = Report::read(&path).0;
    let types = snapshot["objects"]["types"].as_array().expect("types");
    let count = |name: &str| types.iter().find(|of| of["name"] == name).map(|of| &of["count"]);
    assert_eq!(count("__main__.Item"), Some(&2_000_000.into()));
    assert_eq!(snapshot["objects"]["coverage"]["complete"], true);
    let containers = snapshot["objects"]["containers"].as_array().expect("containers");
    assert_eq!(containers[0]["holder"]["path"], "__main__.held");
}
