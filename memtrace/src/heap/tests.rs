//! The reader on real bytes, as they are and damaged.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::Read as _,
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use memtrace_abi::mapping::Range;
use proptest::prelude::*;

use super::{
    Account, Chunk, Heap, Layout, Memory, PAGE, Window,
    live::{Live, anonymous, layout},
    memory::tests::Pages,
};
use crate::process::Process;

/// Three arenas, with mapped chunks, holes, and caches of threads that are alive.
const SCRIPT: &str = "
import threading, time
keep, ready = [], threading.Barrier(3)
def work():
    blocks = [bytes(600 + 97 * n % 3000) for n in range(900)]
    keep.append(blocks[::3])
    del blocks
    ready.wait()
    time.sleep(1000)
for _ in range(2): threading.Thread(target=work, daemon=True).start()
keep.append([bytes(200_000 + 5000 * n) for n in range(3)])
ready.wait()
print(flush=True)
time.sleep(1000)
";

/// All that reading a heap reads.
struct Recorder<'m> {
    memory: &'m Live,
    pages: RefCell<Pages>,
}

impl Recorder<'_> {
    fn keep(&self, address: u64, bytes: &[u8]) {
        self.pages.borrow_mut().write(address, bytes);
    }
}

impl Memory for Recorder<'_> {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let length = self.memory.read(address, buffer);
        self.keep(address, &buffer[..length]);
        length
    }

    fn read_pages(&self, address: u64, count: usize) -> Window {
        let window = self.memory.read_pages(address, count);
        for number in 0..count as u64 {
            let page = window.page(number);
            page.inspect(|page| self.keep(address + number * PAGE, page));
        }
        window
    }

    fn read_starts(&self, address: u64, count: usize) -> Vec<Option<[u64; 2]>> {
        let starts = self.memory.read_starts(address, count);
        for (place, words) in (address..).step_by(PAGE as usize).zip(&starts) {
            let words = words.iter().flatten().flat_map(|word| word.to_le_bytes());
            self.keep(place, &words.collect::<Vec<_>>());
        }
        starts
    }

    fn resident(&self, range: Range) -> Vec<bool> {
        self.memory.resident(range)
    }
}

/// The pages of a process's heap by number, where to begin, and where mapped chunks may be.
type Recording = (BTreeMap<u64, [u8; PAGE as usize]>, Layout, Vec<Range>);

pub(super) fn recording() -> (Pages, Layout, Vec<Range>) {
    static RECORDING: OnceLock<Recording> = OnceLock::new();
    let (pages, layout, anonymous) = RECORDING.get_or_init(record);
    (Pages { pages: pages.clone(), ..Pages::default() }, *layout, anonymous.clone())
}

fn record() -> Recording {
    let mut python = Command::new("python3");
    let mut python = python.arg("-c").arg(SCRIPT).stdout(Stdio::piped()).spawn().unwrap();
    python.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let process = Process::open(python.id()).unwrap();
    let mappings = process.mappings().unwrap();
    let layout = layout(&process, &mappings).unwrap();
    let live = Live::new(&process, Duration::from_mins(1)).unwrap();
    let recorder = Recorder { memory: &live, pages: RefCell::default() };
    let anonymous = anonymous(&mappings);
    Heap::read(&recorder, &layout, &anonymous).unwrap();
    python.kill().and_then(|()| python.wait()).unwrap();
    (recorder.pages.into_inner().pages, layout, anonymous)
}

fn account(heap: &Heap) -> Account {
    let mut charged = 0_u64;
    let total = heap.accounts(&mut |_: &Chunk, bytes: u64| charged += bytes).total;
    assert_eq!(charged, total.pinned);
    assert_eq!(total.size, total.live + total.own + total.free() + total.unknown);
    assert_eq!(total.free(), total.free_resident() + total.returned);
    total
}

#[test]
fn what_was_recorded_reads_as_it_did() {
    let (pages, layout, anonymous) = recording();
    let heap = Heap::read(&pages, &layout, &anonymous).unwrap();
    assert_eq!((heap.doubts.clone(), heap.looks), (Vec::new(), 0));
    assert_eq!((heap.arenas.len(), heap.mapped.len() >= 3), (3, true));
    let total = account(&heap);
    assert!(total.cached > 0 && total.binned > 1 << 20 && total.live > 2 << 20, "{total:?}");
}

/// What replaces a word.
fn forgery() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0_u64..1 << 22),
        (0_u64..64).prop_map(|bit| 1 << bit),
        Just(0),
        Just(!15),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn damaged_memory_never_panics_and_ends(
        forgeries in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..512, forgery()), 1..40),
        missing in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        descriptors in prop::collection::vec((0_u64..280, forgery()), 0..2),
    ) {
        let (mut pages, layout, anonymous) = recording();
        let numbers: Vec<u64> = pages.pages.keys().copied().collect();
        for (page, word, value) in forgeries {
            pages.word(page.get(&numbers) * PAGE + word * 8, value);
        }
        for page in missing {
            pages.pages.remove(page.get(&numbers));
        }
        for (word, value) in descriptors {
            pages.word(layout.main_arena + word * 8, value);
        }
        if let Ok(heap) = Heap::read(&pages, &layout, &anonymous) {
            account(&heap);
        }
        prop_assert!(pages.reads.get() < 200_000, "{} reads", pages.reads.get());
    }

    #[test]
    fn any_bytes_are_no_library_or_one(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = Layout::find(&bytes);
    }
}

#[test]
fn a_damaged_library_is_refused_or_read() {
    let libc = std::fs::read("/lib/x86_64-linux-gnu/libc.so.6").unwrap();
    let found = Layout::find(&libc).unwrap().unwrap();
    for cut in (0..libc.len()).step_by(libc.len() / 50) {
        let _ = Layout::find(&libc[..cut]);
    }
    let mut damaged = libc.clone();
    for place in (0..4096).chain((0..libc.len()).step_by(libc.len() / 100)) {
        damaged[place] ^= 0xff;
        if place % 97 == 0 {
            let _ = Layout::find(&damaged);
        }
        damaged[place] = libc[place];
    }
    assert_eq!(Layout::find(&damaged).unwrap(), Some(found));
}
