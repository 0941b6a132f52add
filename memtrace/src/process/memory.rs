//! Reads the memory of a process without touching what is not in memory already: an untouched page
//! of a shared mapping would be allocated by the look at it.

use std::{fs::File, io, sync::Arc, time::Instant};

use anyhow::Context as _;
use memtrace_abi::mapping::Range;

use super::{Process, directory::Directory};

use self::bytes::{Bytes, Part, Way};
pub use self::{
    pagemap::Page,
    runs::{Run, Runs},
    scan::is_supported as can_scan,
};

mod bytes;
mod pagemap;
mod runs;
mod scan;
mod zeros;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// Most pages that [`Memory::pages`] looks at in one call: 4 GiB of addresses.
pub const MAX_PAGES: usize = 1 << 20;

/// Most pages that [`Memory::read_starts`] looks at in one call.
pub const MAX_STARTS: usize = 1024;

/// What is read under one time limit, and one lock of the target's memory map.
const CHUNK_BYTES: usize = 1 << 20;

/// The memory of a process.
#[derive(Clone, Debug)]
pub struct Memory {
    process: Process,
    /// What it is read through, if that is kept open.
    files: Option<Arc<Files>>,
}

/// The files of one program in one process.
#[derive(Debug)]
struct Files {
    pagemap: File,
    /// Opened when they are needed: a page map may be had where the bytes may not.
    bytes: Bytes,
}

impl Files {
    fn open(directory: &Directory) -> io::Result<Self> {
        Ok(Self { pagemap: pagemap::open(directory)?, bytes: Bytes::default() })
    }
}

impl Process {
    /// The memory of the process.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory { process: self.clone(), files: None }
    }
}

impl Memory {
    /// Keeps the files open, for many reads of the program that runs now: once the process executes
    /// another one, nothing is in memory any more.
    pub fn of_this_program(mut self) -> anyhow::Result<Self> {
        let files = self.process.ask(|directory| {
            let files = Files::open(directory)?;
            files.bytes.open(directory)?;
            Ok(files)
        });
        self.files = Some(Arc::new(files.context("open the memory")?));
        Ok(self)
    }

    /// Asks a question that takes the files.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Directory, &Files) -> io::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let kept = self.files.clone();
        self.process.ask(move |directory| match kept {
            Some(files) => question(directory, &files),
            None => question(directory, &Files::open(directory)?),
        })
    }

    /// Fills `buffer` from `address` on, up to the first byte that is not in memory or may not be
    /// read, and says how many bytes that are.
    ///
    /// Swapped pages and pages of files that this process has not touched count as not in memory. A
    /// page that goes out between the look and the read is brought back. Fails when the process is
    /// gone, does not answer, or may not be read.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> anyhow::Result<usize> {
        let mut length = 0;
        for chunk in buffer.chunks_mut(CHUNK_BYTES) {
            let Some(start) = address.checked_add(length as u64) else { break };
            let bytes = self.read_chunk(start, chunk.len())?;
            chunk[..bytes.len()].copy_from_slice(&bytes);
            length += bytes.len();
            if bytes.len() < chunk.len() {
                break;
            }
        }
        Ok(length)
    }

    /// The state of every page that the range touches; of the first [`MAX_PAGES`] if there are more,
    /// and fewer where addresses end.
    pub fn pages(&self, range: Range) -> anyhow::Result<Vec<Page>> {
        let pages = range.end.div_ceil(PAGE_BYTES).saturating_sub(range.start / PAGE_BYTES);
        let count = pages.min(MAX_PAGES as u64) as usize;
        self.ask(move |_, files| pagemap::read_pages(&files.pagemap, range.start, count))
            .with_context(|| format!("read the page map of process {}", self.process.pid()))
    }

    /// Bytes of the range that are in memory and count for the process. Fails if not all are seen in
    /// time.
    pub fn resident(&self, range: Range, deadline: Instant) -> anyhow::Result<u64> {
        let start = range.start - range.start % PAGE_BYTES;
        let end = range.end.checked_next_multiple_of(PAGE_BYTES).unwrap_or(range.end);
        let runs = self.runs(Range { start, end }, deadline)?;
        anyhow::ensure!(runs.is_complete, "{range:x?} is too large to look at in time");
        let resident = runs.list.iter().filter(|run| !run.is_swapped);
        let part = |run: &Run| {
            let Range { start, end } = run.range;
            end.min(range.end).saturating_sub(start.max(range.start))
        };
        Ok(resident.map(part).sum())
    }

    /// Of the pages from the page-aligned `address` on, at most 1 MiB: whether each is in memory, and
    /// the bytes of those that are, one behind the other; fewer if some went meanwhile.
    pub fn read_pages(&self, address: u64, count: usize) -> anyhow::Result<(Vec<bool>, Vec<u8>)> {
        let count = count.min(CHUNK_BYTES / PAGE_BYTES as usize);
        let identity = self.process.identity();
        self.ask(move |directory, files| {
            read_runs((directory, files), identity.pid, address, count)
        })
        .with_context(|| format!("read {count} pages at {address:#x} of {identity}"))
    }

    /// Of the pages from the page-aligned `address` on, at most [`MAX_STARTS`]: whether each is in
    /// memory, and the first `length` bytes of those that are; fewer if some went meanwhile.
    pub fn read_starts(
        &self,
        address: u64,
        count: usize,
        length: usize,
    ) -> anyhow::Result<(Vec<bool>, Vec<u8>)> {
        let (count, length) = (count.min(MAX_STARTS), length.min(PAGE_BYTES as usize));
        let identity = self.process.identity();
        self.ask(move |directory, files| {
            read_starts((directory, files), identity.pid, address, (count, length))
        })
        .with_context(|| format!("read the starts of {count} pages at {address:#x} of {identity}"))
    }

    fn read_chunk(&self, address: u64, length: usize) -> anyhow::Result<Vec<u8>> {
        let identity = self.process.identity();
        self.ask(move |directory, files| {
            read_present((directory, files), identity.pid, address, length)
        })
        .with_context(|| format!("read {length} bytes at {address:#x} of {identity}"))
    }
}

/// Reads from `address` to the end of the last of the pages in a row that can be read.
fn read_present(
    (directory, files): (&Directory, &Files),
    pid: u32,
    address: u64,
    length: usize,
) -> io::Result<Vec<u8>> {
    let in_page = address % PAGE_BYTES;
    let count = (in_page + length as u64).div_ceil(PAGE_BYTES) as usize;
    let pages = pagemap::read_pages(&files.pagemap, address, count)?;
    let ways = pages.iter().map(|page| Way::to(*page)).take_while(Option::is_some);
    let wanted = Range { start: address, end: address.saturating_add(length as u64) };
    let mut parts = bytes::parts(address - in_page, &ways.collect::<Vec<_>>());
    for Part { range, .. } in &mut parts {
        *range = Range { start: range.start.max(wanted.start), end: range.end.min(wanted.end) };
    }
    files.bytes.read(directory, pid, &parts)
}

/// Whether each page can be read, and the bytes of those that can; fewer if some went meanwhile.
fn read_runs(
    (directory, files): (&Directory, &Files),
    pid: u32,
    address: u64,
    count: usize,
) -> io::Result<(Vec<bool>, Vec<u8>)> {
    let pages = pagemap::read_pages(&files.pagemap, address, count)?;
    let ways: Vec<_> = pages.iter().map(|page| Way::to(*page)).collect();
    let bytes = files.bytes.read(directory, pid, &bytes::parts(address, &ways))?;
    Ok((ways.iter().map(Option::is_some).collect(), bytes))
}

/// Whether each page can be read, and the first bytes of those that can; fewer if some went
/// meanwhile.
fn read_starts(
    (directory, files): (&Directory, &Files),
    pid: u32,
    address: u64,
    (count, length): (usize, usize),
) -> io::Result<(Vec<bool>, Vec<u8>)> {
    let pages = pagemap::read_pages(&files.pagemap, address, count)?;
    let ways: Vec<_> = pages.iter().map(|page| Way::to(*page)).collect();
    let part = |(number, way): (u64, &Option<Way>)| {
        let start = address.wrapping_add(number * PAGE_BYTES);
        let range = Range { start, end: start.saturating_add(length as u64) };
        way.map(|way| Part { range, way })
    };
    let parts: Vec<_> = (0..).zip(&ways).filter_map(part).collect();
    let bytes = files.bytes.read(directory, pid, &parts)?;
    Ok((ways.iter().map(Option::is_some).collect(), bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::workload::Workload, *};

    const MIB: u64 = 1 << 20;

    fn open(python: &Workload) -> Process {
        Process::open(python.pid()).unwrap()
    }

    #[test]
    fn memory_is_read_across_chunks() {
        let script = "import ctypes; b = ctypes.create_string_buffer(bytes(range(256)) * 4 * 4096);\
                      print(ctypes.addressof(b), flush=True)";
        let python = Workload::python(script);
        let address: u64 = python.first_line().parse().unwrap();
        let mut bytes = vec![0; 4 * MIB as usize - 3];
        assert_eq!(open(&python).memory().read(address + 3, &mut bytes).unwrap(), bytes.len());
        let is_right = |(index, &byte): (usize, &u8)| byte == (index + 3) as u8;
        assert!(bytes.iter().enumerate().all(is_right));
    }

    #[test]
    fn untouched_shared_memory_stays_untouched() {
        let script = "import mmap, os, ctypes; fd = os.memfd_create('untouched');\
                      os.ftruncate(fd, 64 << 20); m = mmap.mmap(fd, 64 << 20); m[5 << 20] = 42;\
                      print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)";
        let python = Workload::python(script);
        let process = open(&python);
        let start: u64 = python.first_line().parse().unwrap();
        let before = process.status().unwrap().memory.shared;
        let mut page = [0; PAGE_BYTES as usize];
        let reads = (0..64 * MIB / PAGE_BYTES)
            .map(|index| process.memory().read(start + index * PAGE_BYTES, &mut page).unwrap());
        assert_eq!(reads.sum::<usize>() as u64, before, "the page that was touched");
        let mut all = vec![1; 64 * MIB as usize];
        assert_eq!(process.memory().read(start, &mut all).unwrap(), 0);
        assert_eq!(process.memory().read(start + 5 * MIB, &mut all).unwrap(), 4096);
        assert_eq!(all[..2], [42, 0]);
        assert_eq!(process.status().unwrap().memory.shared, before);
        assert_eq!(before, PAGE_BYTES);
    }

    #[test]
    fn pages_between_absent_ones_are_read() {
        let script = "import mmap, ctypes; m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE);\
                      m[8192] = 7; m[20480] = 9;\
                      print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)";
        let python = Workload::python(script);
        let start: u64 = python.first_line().parse().unwrap();
        let (is_read, bytes) = open(&python).memory().read_pages(start, 256).unwrap();
        let read: Vec<_> = (0..is_read.len()).filter(|page| is_read[*page]).collect();
        assert_eq!((is_read.len(), read), (256, vec![2, 5]));
        assert_eq!((bytes.len(), bytes[0], bytes[1], bytes[4096]), (8192, 7, 0, 9));
        let (is_read, bytes) = open(&python).memory().read_starts(start + 8192, 9999, 2).unwrap();
        assert_eq!((is_read.len(), is_read[0], is_read[1]), (MAX_STARTS, true, false));
        assert_eq!(bytes[..4], [7, 0, 9, 0]);
        let (is_read, bytes) = open(&python).memory().read_pages(1 << 46, 256).unwrap();
        assert!(!is_read.contains(&true) && bytes.is_empty());
    }

    #[test]
    fn pages_tell_what_is_resident() {
        let script = "import mmap, ctypes; m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE);\
                      m[8192] = 1; m[20480] = 1;\
                      print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)";
        let python = Workload::python(script);
        let start: u64 = python.first_line().parse().unwrap();
        let range = Range { start: start + 1, end: start + 7 * PAGE_BYTES + 1 };
        let pages = open(&python).memory().pages(range).unwrap();
        let present: Vec<_> = pages.iter().map(|page| page.is_present()).collect();
        assert_eq!(present, [false, false, true, false, false, true, false, false]);
        assert!(!pages[2].is_file_or_shared() && !pages[2].is_swapped());
        let resident = |start, end| {
            let deadline = Instant::now() + Duration::from_secs(10);
            open(&python).memory().resident(Range { start, end }, deadline).unwrap()
        };
        assert_eq!(resident(start, start + (1 << 20)), 2 * PAGE_BYTES);
        assert_eq!(resident(start + 8195, start + 20485), 4093 + 5);
        assert_eq!(resident(start + 9000, start + 9007), 7);
        assert_eq!(resident(start, start), 0);
    }

    #[test]
    fn addresses_without_memory_give_nothing() {
        let python = Workload::python("");
        let memory = open(&python).memory();
        let deadline = Instant::now() + Duration::from_secs(10);
        for address in [0, 1 << 46, 1 << 47, 1 << 63, u64::MAX - 5, u64::MAX] {
            assert_eq!(memory.read(address, &mut [0; 64]).unwrap(), 0, "{address:#x}");
            let pages = memory.pages(Range { start: address, end: u64::MAX }).unwrap();
            assert!(pages.len() <= MAX_PAGES);
            let end = address.saturating_add(1 << 20);
            assert_eq!(memory.resident(Range { start: address, end }, deadline).unwrap(), 0);
        }
        assert!(memory.pages(Range { start: 9999, end: 0 }).unwrap().is_empty());
    }

    #[test]
    fn memory_that_is_shared_with_a_fork_stays_shared() {
        let script = "import mmap, os, signal, ctypes; m = mmap.mmap(-1, 8 << 20, flags=mmap.MAP_PRIVATE);\
                      m.write(b'x' * (8 << 20)); a = ctypes.addressof(ctypes.c_char.from_buffer(m));\
                      os.fork() or (print(a, os.getpid(), flush=True), signal.pause());\
                      signal.pause()";
        let python = Workload::python(script);
        let line = python.first_line();
        let (start, pid) = line.split_once(' ').unwrap();
        let child = Process::open(pid.parse().unwrap()).unwrap();
        let private = || child.sharing().unwrap().private;
        let before = private();
        let mut bytes = vec![0; 8 * MIB as usize];
        assert_eq!(child.memory().read(start.parse().unwrap(), &mut bytes).unwrap(), bytes.len());
        assert!(bytes.iter().all(|byte| *byte == b'x'));
        let more = private().saturating_sub(before);
        // SAFETY: the call takes two integers; the child is the test's own.
        unsafe { libc::kill(child.pid().cast_signed(), libc::SIGKILL) };
        assert!(more < MIB, "{more} bytes were copied");
    }

    #[test]
    fn memory_that_its_owner_has_closed_does_no_harm() {
        let script = "import mmap, ctypes; m = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE);\
                      m[0] = m[4096] = 1; a = ctypes.addressof(ctypes.c_char.from_buffer(m));\
                      ctypes.CDLL(None).mprotect(ctypes.c_void_p(a + 4096), 4096, 0);\
                      print(a, flush=True)";
        let python = Workload::python(script);
        let start: u64 = python.first_line().parse().unwrap();
        let read = open(&python).memory().read(start, &mut [0; 8192]).unwrap();
        assert!([4096, 8192].contains(&read), "the kernel may be set to let nobody read it");
    }
}
