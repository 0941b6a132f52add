//! What a process that is stuck holds, as its memory tells it.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use memtrace::{
    inventory::{Array, Holder, Inventory, Limits, Owner, Root},
    process::Process,
    python::Interpreter,
};
use serde_json::Value;

use crate::support::{
    observe,
    workload::{self, Workload},
};

/// A stuck worker: what it says of itself, and what was read.
struct Stuck {
    name: String,
    answer: Value,
    blocks: u64,
    inventory: Inventory,
    took: Duration,
}

/// One for each version of the interpreter.
fn stuck() -> Vec<Stuck> {
    workload::pythons()
        .into_iter()
        .map(|python| {
            let mut worker = Workload::python(&python, "stuck");
            worker.go();
            let lines = worker.expect("done");
            let line = |start| lines.iter().find_map(|line| line.strip_prefix(start));
            let answer = serde_json::from_str(line("answer ").expect("it answers")).expect("JSON");
            let blocks = line("blocks ").and_then(|blocks| blocks.parse().ok()).expect("a number");
            let start = Instant::now();
            let patient = Limits { time: observe::patience(), ..Limits::default() };
            let inventory = read(worker.pid(), &patient);
            let (took, name) = (start.elapsed(), python.display().to_string());
            Stuck { name, answer, blocks, inventory, took }
        })
        .collect()
}

fn read(pid: u32, limits: &Limits) -> Inventory {
    let process = Process::open(pid).expect("it runs");
    let mappings = process.mappings().expect("it has some");
    let interpreter = Interpreter::of_process(&process, &mappings).expect("a known one");
    let interpreter = interpreter.expect("it is Python");
    Inventory::of_process(&process, &interpreter, limits).expect("it can be read")
}

#[test]
fn a_stuck_worker_tells_what_it_holds() {
    for worker in stuck() {
        println!("{}: {:?}, {:?}", worker.name, worker.took, worker.inventory.coverage);
        check_counts(&worker);
        check_blocks(&worker);
        check_arrays(&worker);
        check_containers(&worker);
        check_buffers(&worker);
    }
}

/// Types of objects that others hold which the process itself cannot ask: parts of code objects, and
/// what only C code refers to.
const HIDDEN: [&str; 5] = ["bytes", "code", "dict", "numpy._ArrayMethod", "tuple"];

/// What the process itself may miss of few objects: arrays that only C code refers to.
const FEW: u64 = 5;

/// Within 1 % of what the process itself finds by `gc`, or more of what it cannot find.
fn check_counts(Stuck { name, answer, inventory, .. }: &Stuck) {
    let found: HashMap<&str, u64> =
        inventory.types.iter().map(|of| (of.name.as_str(), of.count)).collect();
    let expected = answer["counts"].as_object().expect("counts by type");
    let off: Vec<_> = expected
        .iter()
        .map(|(of, count)| (of.as_str(), count.as_u64().expect("a count")))
        .map(|(of, count)| (of, count, found.get(of).copied().unwrap_or(0)))
        .filter(|(of, count, found)| {
            let off = count / 100;
            let most = if HIDDEN.contains(of) { u64::MAX } else { count + off.max(FEW) };
            *count >= 100 && !(count - off..=most).contains(found)
        })
        .collect();
    assert!(off.is_empty(), "{name}: {off:?}");
}

/// Every block in use is found, and few things that are no objects.
fn check_blocks(Stuck { name, blocks, inventory, .. }: &Stuck) {
    let coverage = inventory.coverage;
    // Those above 512 bytes are the C library's, and few.
    assert!(
        (blocks * 99 / 100..=*blocks).contains(&coverage.blocks),
        "{name}: {blocks}, {coverage:?}"
    );
    assert_eq!((coverage.failed_pools, coverage.is_followed), (0, true), "{name}");
    assert!(coverage.failed_objects < coverage.objects / 10_000, "{name}: {coverage:?}");
}

/// The array that is held by a path of names.
fn held<'stuck>(Stuck { name, inventory, .. }: &'stuck Stuck, path: &str) -> &'stuck Array {
    let arrays = inventory.arrays.iter();
    let by_path = |array: &&Array| array.holder.as_ref().is_some_and(|holder| holder.path == path);
    arrays.clone().find(by_path).unwrap_or_else(|| {
        let paths: Vec<_> = arrays.map(|array| (&array.shape, &array.holder)).collect();
        panic!("{name}: nobody holds {path}: {paths:#?}")
    })
}

fn check_arrays(stuck: &Stuck) {
    let name = &stuck.name;
    let held = |path: &str| held(stuck, path);
    for number in 0..38 {
        let array = held(&format!("batch[{number}]"));
        assert_eq!(
            (array.dtype.as_str(), &array.shape[..]),
            ("float64", &[1000 + number, 625][..])
        );
        assert_eq!((array.bytes, &array.owner), ((1000 + number) * 5000, &Owner::Itself));
        assert_eq!(array.data.end - array.data.start, array.bytes);
        let root = &array.holder.as_ref().expect("it was found by it").root;
        let Root::Local { function, file, thread } = root else { panic!("{name}: {root:?}") };
        assert!(
            function == "work" && file.ends_with("stuck.py") && *thread > 0,
            "{name}: {root:?}"
        );
    }
    let (single, view) = (held("single"), held("view"));
    assert_eq!((single.dtype.as_str(), &single.shape[..]), ("float32", &[2048, 1024][..]));
    let base = Owner::Base { address: single.address, type_name: "numpy.ndarray".to_owned() };
    assert_eq!((&view.owner, &view.shape[..]), (&base, &[10, 512][..]));
    assert_eq!(view.data.start, single.data.start + 10 * 4096);
    let others = [
        ("__main__.TABLE['deep'][1]['array']", "float64", vec![300, 1000]),
        ("__main__.PLAIN.value", "uint32", vec![70_000]),
        ("__main__.SLOTTED.second", "bool", vec![123_456]),
        ("__main__.RECORDS", "void96 (a, b)", vec![1000]),
        ("__main__.SWAPPED", "int32, big-endian", vec![900]),
        ("__main__.OBJECTS", "object", vec![5000]),
        ("__main__.DATES", "datetime64[ns]", vec![5001]),
        ("__main__.KEPT_BY_CLOSURE.__closure__[0]", "int16", vec![257, 100]),
    ];
    for (path, dtype, shape) in others {
        let array = held(path);
        assert_eq!((array.dtype.as_str(), &array.shape), (dtype, &shape), "{name}: {path}");
    }
}

fn check_containers(Stuck { name, inventory, .. }: &Stuck) {
    let held = |path: &str| {
        let containers = inventory.containers.iter();
        let found = containers
            .clone()
            .find(|container| container.holder.as_ref().is_some_and(|holder| holder.path == path));
        let found = found.unwrap_or_else(|| {
            panic!("{name}: nobody holds {path}: {:#?}", containers.take(20).collect::<Vec<_>>())
        });
        (found.type_name.as_str(), found.length)
    };
    assert_eq!(held("__main__.CACHE['entries']"), ("dict", 400_000), "{name}");
    assert_eq!(held("__main__.MEMBERS"), ("set", 50_000), "{name}");
    assert_eq!(held("__main__.FLOATS"), ("list", 50_000), "{name}");
    assert_eq!(held("__main__.QUEUE"), ("collections.deque", 10_000), "{name}");
}

fn check_buffers(Stuck { name, inventory, .. }: &Stuck) {
    let mut names = inventory.buffers.iter().map(|buffer| &buffer.type_name);
    let foreign = names.by_ref().filter(|name| name.contains("c_char_Array")).count();
    assert_eq!(foreign, 1, "{name}: what is borrowed counts where it is");
    let expected = [
        ("__main__.LONG", "str", 1_000_000),
        ("__main__.RAW[1]", "bytes", 204_800),
        ("__main__.GROWING.value", "bytearray", 300_000),
        ("__main__.TYPED['doubles']", "array.array", 320_000),
        ("__main__.STRING_FILE", "_io.StringIO", 800_000),
        ("__main__.MAPPED", "mmap.mmap", 2_000_000),
        ("__main__.FOREIGN['characters']", "ctypes.c_char_Array_700000", 700_000),
    ];
    for (path, type_name, bytes) in expected {
        let buffers = inventory.buffers.iter();
        let is_here = |holder: &Holder| holder.path == path;
        let found = buffers.clone().find(|buffer| buffer.holder.as_ref().is_some_and(is_here));
        let found = found.unwrap_or_else(|| panic!("{name}: nobody holds {path}: {buffers:#?}"));
        assert_eq!(found.type_name, type_name, "{name}: {path}");
        // A head, and room to grow.
        assert!((bytes..bytes / 16 * 17).contains(&found.bytes), "{name}: {path}: {found:?}");
        let data = found.data.end - found.data.start;
        assert!((bytes - 64..=found.bytes).contains(&data), "{name}: {path}: {found:?}");
    }
}

#[test]
fn a_process_that_goes_on_is_read_again_and_again_without_a_wrong_name() {
    for python in [workload::main_python()] {
        let mut worker = Workload::python(&python, "changing");
        worker.go();
        let lines = worker.expect("done");
        let answer =
            lines.iter().find_map(|line| line.strip_prefix("answer ")).expect("it answers");
        let names: HashSet<String> = serde_json::from_str(answer).expect("JSON");
        let limits = Limits { time: Duration::from_secs(2), ..Limits::default() };
        let (mut objects, mut failed, mut slowest) = (0, 0, Duration::ZERO);
        for _ in 0..2 * observe::cycles() {
            let start = Instant::now();
            let inventory = read(worker.pid(), &limits);
            slowest = slowest.max(start.elapsed());
            let wrong = inventory.types.iter().find(|of| !names.contains(&of.name));
            assert!(wrong.is_none(), "{}: {wrong:?}", python.display());
            objects += inventory.coverage.objects;
            failed += inventory.coverage.failed_objects + inventory.coverage.failed_pools;
        }
        println!("{}: {objects} objects, {failed} failed, {slowest:?}", python.display());
        // Ten seconds; patience is a minute, or more on slower machines.
        assert!(slowest < observe::patience() / 6, "{slowest:?}");
        // Four threads change them all the time; what has changed at a second look has not failed.
        assert!(failed * 100 < objects, "{failed} of {objects}");
    }
}
