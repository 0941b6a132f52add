//! Memory by use adds up to what the kernel counts, and large things have a holder.

use std::{fs, process::Command, time::Instant};

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
rows = held[0][::2]
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
    let view = arrays.iter().find(|array| array["holder"]["path"] == "__main__.rows");
    let view = view.expect("the view of each second row");
    // The rows in between are not its own.
    assert_eq!((&view["bytes"], &view["resident_bytes"]), (&4_000_000.into(), &4_000_000.into()));
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

#[test]
fn what_lies_above_a_stack_is_no_stack() {
    let workload = Workload::c("low_stack");
    let parts = &take(workload.pid())["memory"]["parts"];
    let bytes = |part: &str| parts[part].as_u64().expect("bytes");
    assert!((4 << 10..256 << 10).contains(&bytes("stacks")), "{parts}");
    assert!((63 << 20..64 << 20).contains(&bytes("untraced")), "{parts}");
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
        "ulimit -d $((300 * 1024)); exec {} snapshot --pid {} --timeout {}s --output {}",
        memtrace.get_program().to_str().expect("UTF-8"),
        workload.pid(),
        observe::patience().as_secs(),
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

/// Data frames with columns of several kinds; what those say that they hold.
const FRAMES: &str = "
import json, sys
import numpy, pandas, pyarrow
rows = 100_000
arrow = pandas.DataFrame({
    'text': pandas.array([f'text {row}' for row in range(rows)], dtype='string[pyarrow]'),
    'number': pandas.array(numpy.arange(rows), dtype='int64[pyarrow]'),
    'list': pandas.Series([[1, 2, 3]] * rows, dtype=pandas.ArrowDtype(pyarrow.list_(pyarrow.int32()))),
})
frames = {
    'numpy': pandas.DataFrame({'a': numpy.arange(rows), 'b': numpy.ones(rows), 'c': numpy.ones(rows)}),
    'masked': pandas.DataFrame({'a': pandas.array(range(rows), dtype='Int64')}),
    'dates': pandas.DataFrame({'a': pandas.date_range('2020', periods=rows, freq='s', tz='UTC')}),
    'arrow': arrow,
    'joined': pandas.concat([arrow] * 3),
    'sparse': pandas.DataFrame({'a': pandas.arrays.SparseArray(numpy.arange(rows) // (rows - 10))}),
    'categories': pandas.DataFrame({'a': pandas.Categorical(numpy.arange(rows) % 1000)}),
    'intervals': pandas.DataFrame({'a': pandas.interval_range(0, 1000)}),
    'labels': pandas.DataFrame(index=pandas.MultiIndex.from_product([range(30), range(40)])),
    'empty': pandas.DataFrame(),
}
def held(column):
    data = getattr(column.array, '_pa_array', None)
    return column.array.nbytes if data is None else data.get_total_buffer_size()
for name, frame in frames.items():
    bytes = sum(held(frame[column]) for column in frame)
    print(json.dumps([name, len(frame), len(frame.columns), bytes]))
del arrow, frame
print('ready', flush=True)
sys.stdin.readline()
";

#[test]
fn data_frames_have_the_size_of_their_columns_whatever_holds_them() {
    let mut command = Command::new(workload::scenario_python());
    let (workload, said) = Workload::start_and_read(command.args(["-c", FRAMES]));
    let snapshot = take(workload.pid());
    let frames = snapshot["objects"]["data_frames"].as_array().expect("data frames");
    assert_eq!(said.len(), 10);
    for line in said {
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let name = said[0].as_str().expect("a name");
        let path = format!("__main__.frames['{name}']");
        let found = frames.iter().find(|frame| frame["holder"]["path"] == path.as_str());
        let found = found.unwrap_or_else(|| panic!("nobody holds {path}: {frames:#?}"));
        let found = [&found["rows"], &found["columns"], &found["bytes"]];
        assert_eq!(found, [&said[1], &said[2], &said[3]], "{name}");
    }
}

/// Of many objects few stay, so that arenas are nearly empty.
const SPARSE: &str = "
import sys
class Item:
    pass
items = [Item() for _ in range(200_000)]
kept = items[::500]
del items
print('ready', flush=True)
sys.stdin.readline()
";

#[test]
fn nearly_empty_arenas_and_pools_of_python_have_who_keeps_them() {
    for python in workload::pythons() {
        let workload = Workload::start(Command::new(&python).args(["-S", "-c", SPARSE]));
        let snapshot = take(workload.pid());
        let objects = &snapshot["objects"];
        let groups = objects["arenas_by_use"].as_array().expect("groups");
        let sum =
            |field: &str| groups.iter().filter_map(|group| group[field].as_u64()).sum::<u64>();
        assert_eq!(objects["arenas"], sum("arenas"), "{}", python.display());
        assert_eq!(objects["arenas_resident_bytes"], sum("resident_bytes"));
        assert_eq!(objects["arenas_used_bytes"], sum("used_bytes"));
        let empty = groups.iter().find(|group| group["least_percent"] == 0).expect("empty ones");
        let pools = &objects["sparse_pools"];
        for kept in [empty, pools] {
            let mut types = kept["types"].as_array().expect("types").iter();
            let is_there = types.any(|of| of["name"] == "__main__.Item");
            assert!(is_there, "{}: {kept}", python.display());
        }
        // Nearly each of the 400 has one for itself.
        assert!(pools["pools"].as_u64() > Some(300), "{}: {pools}", python.display());
        assert!(empty["resident_bytes"].as_u64() > Some(5 << 20), "{}: {empty}", python.display());
    }
}

#[test]
fn the_heap_has_a_picture() {
    let workload = Workload::c("pinned");
    let folder = tempfile::tempdir().expect("a folder");
    let [picture, page] = ["heap.svg", "snapshot.html"].map(|name| folder.path().join(name));
    let [picture_name, page_name] = [&picture, &page].map(|path| path.to_str().expect("UTF-8"));
    let pid = workload.pid().to_string();
    let options = ["snapshot", "--pid", &pid, "-o", picture_name, "-o", page_name];
    let output = memtrace::run(options);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let picture = fs::read_to_string(picture).expect("a picture");
    assert!(picture.starts_with("<svg") && picture.contains("main arena"), "{picture}");
    assert!(fs::read_to_string(page).expect("a page").contains("<svg"));
}
