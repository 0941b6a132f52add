//! The reader on real processes, and on what is left of one after bytes were changed.

mod frames;
mod room;

use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use memtrace_abi::mapping::Range;
use proptest::prelude::*;

use super::{Inventory, Limits, reader::Reader};
use crate::{heap::Memory, process::Process, python::Interpreter};

const PAGE: u64 = 4096;

/// A Python that waits, killed at the end.
struct Python {
    child: Child,
    /// What it printed between `ready` and `done`.
    lines: Vec<String>,
}

impl Python {
    fn start(interpreter: &PathBuf, arguments: &[&str]) -> Self {
        let mut python = Command::new(interpreter);
        python.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
        let lines = output.lines().map(Result::unwrap).skip_while(|line| line != "ready").skip(1);
        let lines = lines.take_while(|line| line != "done").collect();
        Self { child, lines }
    }

    fn interpreter(&self) -> (Process, Interpreter) {
        let process = Process::open(self.child.id()).unwrap();
        let mappings = process.mappings().unwrap();
        let interpreter = Interpreter::of_process(&process, &mappings).unwrap().unwrap();
        (process, interpreter)
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One interpreter of each version: those of `cargo xtask test`.
fn interpreters() -> Vec<PathBuf> {
    let list = env::var_os("MEMTRACE_TEST_PYTHONS").expect("run by cargo xtask test");
    env::split_paths(&list).collect()
}

fn limits() -> Limits {
    Limits { time: Duration::from_mins(2), ..Limits::default() }
}

/// The live process, with what is read of it kept.
struct Recorder<'m> {
    memory: &'m (dyn Memory + Sync),
    pages: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Memory for Recorder<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let read = self.memory.read(address, buffer);
        assert_eq!(address % PAGE, 0, "read by pages");
        for (page, bytes) in (address / PAGE..).zip(buffer[..read].chunks_exact(PAGE as usize)) {
            self.pages.lock().unwrap().insert(page, bytes.to_vec());
        }
        read
    }

    fn resident(&self, range: Range) -> Vec<bool> {
        self.memory.resident(range)
    }
}

/// Pages, and how many bytes were read of them.
struct Pages {
    pages: HashMap<u64, Vec<u8>>,
    read: AtomicU64,
}

impl Memory for Pages {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let mut length = 0;
        for (page, bytes) in (address / PAGE..).zip(buffer.chunks_exact_mut(PAGE as usize)) {
            let Some(page) = self.pages.get(&page) else { break };
            bytes.copy_from_slice(page);
            length += bytes.len();
        }
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        length
    }

    fn resident(&self, range: Range) -> Vec<bool> {
        let pages = range.start / PAGE..range.end / PAGE;
        pages.map(|page| self.pages.contains_key(&page)).collect()
    }
}

const STUCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/workloads/stuck.py");

#[test]
fn sizes_are_those_of_getsizeof_to_the_byte() {
    let mut wrong = Vec::new();
    for path in interpreters() {
        let python = Python::start(&path, &[STUCK]);
        let said: serde_json::Value =
            serde_json::from_str(&python.lines[0]["answer ".len()..]).unwrap();
        let (process, interpreter) = python.interpreter();
        let live = super::live::Live::new(&process).unwrap();
        let mut reader = Reader::new(&live, &interpreter, &limits(), 16);
        let samples = said["sizes"].as_array().unwrap();
        assert!(samples.len() > 80);
        for sample in samples {
            let object = sample[0].as_u64().unwrap();
            let id = reader.type_of(object);
            let size = id.and_then(|id| reader.size_of(object, id));
            let name = id.map(|id| reader.described(id).name.clone());
            if (size, name.as_deref()) != (sample[1].as_u64(), sample[2].as_str()) {
                wrong.push(format!("{} {sample} {name:?} {size:?}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A small process, recorded, and all of it found.
fn recorded() -> (HashMap<u64, Vec<u8>>, Interpreter) {
    let script = "import sys\nclass A: pass\nx = [A() for _ in range(99)]\nfor a in x: a.b = {1: 'two'}\n\
        print('ready\\ndone', flush=True)\nsys.stdin.readline()\nsys.stdin.readline()";
    let python = Python::start(&"python3".into(), &["-I", "-S", "-c", script]);
    let (process, interpreter) = python.interpreter();
    let live = super::live::Live::new(&process).unwrap();
    let recorder = Recorder { memory: &live, pages: Mutex::default() };
    let inventory = Inventory::read(&recorder, &interpreter, &limits()).unwrap();
    let found = inventory.types.iter().find(|of| of.name == "__main__.A").unwrap();
    assert_eq!(found.count, 99);
    (recorder.pages.into_inner().unwrap(), interpreter)
}

/// A page, a place in it, and what is put there: a page by its index in the list of their numbers.
type Change = (prop::sample::Index, usize, u64);

/// Words that may be odd, and addresses in the pages.
fn change(numbers: &[u64]) -> impl Strategy<Value = Change> {
    let numbers = numbers.to_vec();
    let address = (any::<prop::sample::Index>(), 0..512_u64)
        .prop_map(move |(page, word)| page.get(&numbers) * PAGE + word * 8);
    let word = prop_oneof![any::<u64>(), 0..64_u64, Just(u64::MAX), address];
    (any::<prop::sample::Index>(), 0..512_usize, word)
}

fn changed(pages: &HashMap<u64, Vec<u8>>, numbers: &[u64], changes: Vec<Change>) -> Pages {
    let mut pages = pages.clone();
    for (page, place, word) in changes {
        let page = pages.get_mut(page.get(numbers)).unwrap();
        page[place * 8..place * 8 + 8].copy_from_slice(&word.to_le_bytes());
    }
    Pages { pages, read: AtomicU64::default() }
}

#[test]
fn nothing_in_memory_can_make_reading_go_wrong() {
    const MOST: u64 = 1 << 30;
    let (pages, interpreter) = recorded();
    let mut numbers: Vec<u64> = pages.keys().copied().collect();
    numbers.sort_unstable();
    let changes = prop::collection::vec(change(&numbers), 1..2000);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(40));
    let limits = Limits { read_bytes: MOST, time: Duration::from_secs(20), ..Limits::default() };
    let result = runner.run(&changes, |changes| {
        let pages = changed(&pages, &numbers, changes);
        let _ = Inventory::read(&pages, &interpreter, &limits);
        prop_assert!(pages.read.load(Ordering::Relaxed) <= MOST + (1 << 20));
        Ok(())
    });
    result.unwrap();
}

#[test]
fn limits_end_the_reading_early() {
    let (pages, interpreter) = recorded();
    let pages = Pages { pages, read: AtomicU64::default() };
    let none = Limits { time: Duration::ZERO, ..limits() };
    assert!(Inventory::read(&pages, &interpreter, &none).is_err());
    let few = Limits { objects: 50, listed: 3, ..limits() };
    let inventory = Inventory::read(&pages, &interpreter, &few).unwrap();
    assert_eq!(inventory.coverage.spent, Some(super::Spent::Objects));
    assert!(!inventory.coverage.is_followed && inventory.containers.len() == 3);
}
