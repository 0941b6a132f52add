//! The heap of a running process: finds the C library among what it has mapped, and reads through
//! the kernel, for a limited time.

use std::{
    cell::{Cell, RefCell},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use memchr::memmem;
use memtrace_abi::mapping::Range;

use super::{Doubt, Heap, Layout, Memory, Refusal, Window};
use crate::process::{
    Process,
    mappings::{Kind, Mapping, Mappings},
    memory,
};

/// How file names of C libraries begin; since 2.34 `libc.so.6`, before `libc-2.31.so`.
const LIBRARIES: [&str; 2] = ["libc.so", "libc-2."];

/// And those of musl.
const MUSL: [&str; 2] = ["ld-musl-", "libc.musl-"];
/// What musl's dynamic linker, which is the library, calls itself.
const MUSL_NAME: &[u8] = b"musl libc (";

/// In this time a thread that was kept from going on may have gone on; on a busy machine it takes
/// some of them.
const MOMENT: Duration = Duration::from_millis(1);

/// A look at whether all threads rest that takes longer is the last one. Then everything is looked at
/// twice, as if some thread ran.
const MAX_REST: Duration = Duration::from_millis(10);

/// The share of the time that may be waited: one of so many.
const WAITING: u128 = 2;

impl Heap {
    /// Reads the heap of a running process. After `limit` nothing more is read, and the rest is
    /// unknown.
    ///
    /// The error is a [`Refusal`] if there is no heap that could be read, else that of the process.
    pub fn of_process(process: &Process, mappings: &Mappings, limit: Duration) -> Result<Self> {
        let layout = layout(process, mappings)?;
        let anonymous = anonymous(mappings);
        process
            .at_length(limit, move |process| Self::of_layout(process, &layout, &anonymous, limit))
            .with_context(|| format!("read the heap of {}", process.identity()))?
    }

    fn of_layout(
        process: &Process,
        layout: &Layout,
        anonymous: &[Range],
        limit: Duration,
    ) -> Result<Self> {
        let live = Live::new(process, limit)?;
        let heap = Self::read(&live, layout, anonymous);
        if let Some(error) = live.error.take() {
            return Err(error);
        }
        let mut heap = heap?;
        if live.is_late.get() {
            heap.doubts.push(Doubt::Late(limit));
        }
        Ok(heap)
    }
}

/// Where the process's C library keeps its heap.
pub(super) fn layout(process: &Process, mappings: &Mappings) -> Result<Layout> {
    let groups = mappings.executables();
    let is_library = |mapping: &Mapping| is_called(mapping, &LIBRARIES);
    let mut candidates: Vec<&Mapping> = groups.iter().map(|group| group[0]).collect();
    // It lies below a program that is its own dynamic linker.
    candidates.retain(|mapping| mapping.kind() != Kind::Vdso);
    let mut is_musl = candidates.iter().any(|mapping| is_called(mapping, &MUSL));
    // A program that brings its C library along has it in its first file.
    candidates.sort_by_key(|mapping| !is_library(mapping));
    let libraries = candidates.iter().filter(|mapping| is_library(mapping)).count();
    for mapping in candidates.into_iter().take(libraries + 1) {
        let object = process.object(mapping)?;
        let contents = object.contents();
        let Some(bytes) = contents.whole() else { continue };
        is_musl |= memmem::find(bytes, MUSL_NAME).is_some();
        let found = Layout::find(bytes);
        if let Some(layout) = found.with_context(|| format!("read {}", mapping.path.display()))? {
            let bias = object.bias(mapping).context("find where the C library is mapped")?;
            return Ok(layout.in_process(bias));
        }
    }
    Err(if is_musl { Refusal::Musl } else { Refusal::NoGlibc }.into())
}

/// Whether the mapped file is called like a C library.
#[must_use]
pub fn is_c_library(mapping: &Mapping) -> bool {
    is_called(mapping, &LIBRARIES) || is_called(mapping, &MUSL)
}

fn is_called(mapping: &Mapping, names: &[&str]) -> bool {
    let name = mapping.path.file_name().unwrap_or_default().to_string_lossy();
    names.iter().any(|library| name.starts_with(library))
}

/// Where mapped chunks may be: mappings that touch are one range, for a program may have advised the
/// kernel on a part of a chunk, and then that is a mapping of its own.
pub(super) fn anonymous(mappings: &Mappings) -> Vec<Range> {
    let may_hold = |mapping: &&Mapping| {
        mapping.kind() == Kind::Anonymous
            && mapping.permissions.is_writable()
            && !mapping.permissions.is_shared()
    };
    let mut ranges: Vec<Range> = Vec::new();
    for range in mappings.list.iter().filter(may_hold).map(|mapping| mapping.range) {
        match ranges.last_mut().filter(|last| last.end == range.start) {
            Some(last) => last.end = range.end,
            None => ranges.push(range),
        }
    }
    ranges
}

/// The memory of a running process, until a moment.
pub(super) struct Live {
    process: Process,
    memory: memory::Memory,
    until: Instant,
    /// Moments that may still be waited for.
    waits: Cell<u32>,
    is_late: Cell<bool>,
    /// Whether it takes long to see if the process is at rest: it has thousands of threads.
    is_slow: Cell<bool>,
    /// The first that was met.
    error: RefCell<Option<anyhow::Error>>,
}

impl Live {
    pub(super) fn new(process: &Process, limit: Duration) -> Result<Self> {
        let waits = limit.as_millis() / (MOMENT.as_millis() * WAITING);
        Ok(Self {
            process: process.clone(),
            memory: process.memory().of_this_program()?,
            until: Instant::now() + limit,
            waits: Cell::new(waits as u32),
            is_late: Cell::new(false),
            is_slow: Cell::new(false),
            error: RefCell::new(None),
        })
    }

    /// Nothing more is asked after the time, or of a process that has failed to answer.
    fn is_over(&self) -> bool {
        let is_late = Instant::now() > self.until;
        self.is_late.set(self.is_late.get() || is_late);
        is_late || self.error.borrow().is_some()
    }

    fn keep<T>(&self, answer: Result<T>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

impl Memory for Live {
    fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        if self.is_over() {
            return 0;
        }
        self.keep(self.memory.read(address, buffer)).unwrap_or(0)
    }

    fn read_pages(&self, address: u64, count: usize) -> Window {
        if self.is_over() {
            return Window::default();
        }
        let read = self.keep(self.memory.read_pages(address, count));
        read.map_or_else(Window::default, |(is_here, bytes)| Window::new(&is_here, bytes))
    }

    fn read_starts(&self, address: u64, count: usize) -> Vec<Option<[u64; 2]>> {
        if self.is_over() {
            return Vec::new();
        }
        let read = self.keep(self.memory.read_starts(address, count, 16)).unwrap_or_default();
        let (words, _) = read.1.as_chunks::<8>();
        let (starts, _) = words.as_chunks::<2>();
        let mut starts = starts.iter().map(|start| start.map(u64::from_le_bytes));
        read.0.iter().map(|is_here| if *is_here { starts.next() } else { None }).collect()
    }

    fn resident(&self, range: Range) -> Vec<bool> {
        if self.is_over() {
            return Vec::new();
        }
        let pages = self.keep(self.memory.pages(range)).unwrap_or_default();
        pages.iter().map(|page| page.is_counted()).collect()
    }

    fn wait(&self) -> bool {
        let is_enough = self.waits.get() == 0 || self.is_over() || self.rest().is_some();
        if !is_enough {
            self.waits.set(self.waits.get() - 1);
            thread::sleep(MOMENT);
        }
        !is_enough
    }

    fn rest(&self) -> Option<u64> {
        if self.is_slow.get() {
            return None;
        }
        let start = Instant::now();
        let turns = self.process.turns_at_rest().ok()?;
        self.is_slow.set(start.elapsed() > MAX_REST);
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_python_has_a_heap_without_doubts() {
        let mut python = std::process::Command::new("python3")
            .args(["-c", "import time; keep = [bytes(n) for n in range(600, 9000)]; print(flush=True); time.sleep(99)"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0];
        std::io::Read::read_exact(python.stdout.as_mut().unwrap(), &mut line).unwrap();
        let process = Process::open(python.id()).unwrap();
        let mappings = process.mappings().unwrap();
        let heap = Heap::of_process(&process, &mappings, Duration::from_secs(5));
        python.kill().unwrap();
        python.wait().unwrap();
        let heap = heap.unwrap();
        assert_eq!(heap.doubts, []);
        let live = heap.accounts(&mut |_: &_, _| {}).total.live;
        assert!(live > 8400 * 4800, "{live}");
        assert!(Heap::of_process(&process, &mappings, Duration::from_secs(5)).is_err());
    }
}
