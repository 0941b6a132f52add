//! Objects that are not in pymalloc's arenas.

use std::path::PathBuf;

use memtrace_abi::mapping::Range;

use super::{super::live::Live, Python, Reader, interpreters, limits};
use crate::{
    heap::{Extent, Memory},
    inventory::Inventory,
};

/// Each version without pymalloc; prints the address of an object that its class and its value make
/// like a `re.RegexFlag`.
const SCRIPT: &str = "import sys\nclass Flag(int): pass\nkeep = [Flag(i) for i in range(999)]\n\
    print('ready', id(keep[500]), id(keep), 'done', sep='\\n', flush=True)\nsys.stdin.readline()\n\
    sys.stdin.readline()";

/// A live process in which one word is another one.
struct Changed<'m> {
    memory: &'m Live,
    place: u64,
    word: u64,
}

impl Memory for Changed<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let read = self.memory.read(address, buffer);
        if let Some(place) = self.place.checked_sub(address).map(|place| place as usize)
            && place + 8 <= read
        {
            buffer[place..place + 8].copy_from_slice(&self.word.to_le_bytes());
        }
        read
    }

    fn resident(&self, range: Range) -> Vec<bool> {
        self.memory.resident(range)
    }

    fn extent(&self, address: u64) -> Option<Extent> {
        self.memory.extent(address)
    }
}

#[test]
fn an_object_outside_pymalloc_is_not_larger_than_what_holds_it() {
    for path in interpreters() {
        let path = path.to_str().unwrap();
        let python =
            Python::start(&PathBuf::from("env"), &["PYTHONMALLOC=malloc", path, "-c", SCRIPT]);
        let addresses: Vec<u64> = python.lines.iter().map(|line| line.parse().unwrap()).collect();
        let (process, interpreter) = python.interpreter();
        let live = Live::new(&process).unwrap();
        let is_held = |object: u64, place: u64, word: u64| {
            let changed = Changed { memory: &live, place, word };
            let mut reader = Reader::new(&changed, &interpreter, &limits(), 16);
            let arenas = reader.find_arenas();
            let tracked = reader.tracked(&arenas, 1 << 20).unwrap();
            reader.learn_chunks(&tracked.objects);
            assert!(reader.has_chunks && reader.is_malloc, "{path}");
            let id = reader.type_of(object).unwrap();
            reader.is_held(object, id)
        };
        let (flag, list) = (addresses[0], addresses[1]);
        assert!(is_held(flag, 0, 0) && is_held(list, 0, 0), "{path}");
        assert!(!is_held(flag, flag + 16, 1 << 24), "{path}: digits");
        assert!(!is_held(list, list + 32, 1 << 36), "{path}: room for items");
    }
}

/// Times and dates with and without a zone, a subclass, and what they take in blocks of pymalloc.
const TIMES: &str = "import sys\nfrom datetime import *\nclass Day(datetime): pass\n\
    keep = [[time(n), time(n, tzinfo=timezone.utc), datetime(n + 1, 1, 1), Day(n + 1, 1, 1), \
    datetime(n + 1, 1, 1, tzinfo=timezone.utc)] for n in range(24)]\n\
    print('ready', 'done', sep='\\n', flush=True)\nsys.stdin.readline()\nsys.stdin.readline()";

#[test]
fn times_without_a_zone_are_found_in_their_smaller_blocks() {
    let allocators = ["PYTHONMALLOC=malloc", "PYTHONMALLOC=pymalloc"];
    let each = interpreters().into_iter().flat_map(|path| allocators.map(|of| (path.clone(), of)));
    for (path, allocator) in each {
        let path = path.to_str().unwrap();
        let python = Python::start(&PathBuf::from("env"), &[allocator, path, "-c", TIMES]);
        let (process, interpreter) = python.interpreter();
        let inventory = Inventory::of_process(&process, &interpreter, &limits()).unwrap();
        for (name, least) in
            [("datetime.time", 48), ("datetime.datetime", 48), ("__main__.Day", 24)]
        {
            let found = inventory.types.iter().find(|of| of.name == name);
            let count = found.map_or(0, |of| of.count);
            // The module has some of its own.
            assert!((least..least + 10).contains(&count), "{path} {allocator} {name} {count}");
        }
    }
}
