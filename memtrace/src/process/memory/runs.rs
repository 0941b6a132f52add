//! Which parts of a process's memory are resident, in runs of pages.

use std::{ptr, sync::OnceLock, time::Instant};

use anyhow::ensure;
use memtrace_abi::mapping::Range;

use super::{Memory, PAGE_BYTES, Page, pagemap};

/// Pages of a huge page.
const HUGE_PAGES: usize = 512;

/// Pages in a row that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where.
    pub range: Range,
    /// Whether they belong to a file or to shared memory, not to this process alone.
    pub is_file_or_shared: bool,
    /// Whether they are swapped out; else they are in memory.
    pub is_swapped: bool,
}

impl Memory {
    /// The pages of a range that are in memory or swapped out. The pages of zeros that the kernel
    /// lends to whoever reads what was never written are neither: it does not count them. Fails if
    /// it is not done in time.
    pub fn runs(&self, range: Range, deadline: Instant) -> anyhow::Result<Vec<Run>> {
        let mut runs: Vec<Run> = Vec::new();
        let mut start = range.start;
        while start < range.end {
            ensure!(
                Instant::now() < deadline,
                "the process has too much memory to look at in time"
            );
            let pages = self.pages(Range { start, end: range.end })?;
            if pages.is_empty() {
                break;
            }
            for page in &pages {
                note(&mut runs, start, *page);
                start += PAGE_BYTES;
            }
        }
        Ok(runs)
    }
}

fn note(runs: &mut Vec<Run>, start: u64, page: Page) {
    if !page.is_swapped() && (!page.is_present() || zeros().contains(page)) {
        return;
    }
    let run = Run {
        range: Range { start, end: start + PAGE_BYTES },
        is_file_or_shared: page.is_file_or_shared(),
        is_swapped: page.is_swapped(),
    };
    match runs.last_mut() {
        Some(last) if last.range.end == start && last.is_like(&run) => last.range.end += PAGE_BYTES,
        _ => runs.push(run),
    }
}

impl Run {
    fn is_like(&self, other: &Self) -> bool {
        self.is_file_or_shared == other.is_file_or_shared && self.is_swapped == other.is_swapped
    }
}

/// Page frames that hold zeros for everybody. Only a privileged user is told of frames.
#[derive(Debug, Default)]
struct Zeros {
    small: Option<u64>,
    huge: Option<u64>,
}

impl Zeros {
    fn contains(&self, page: Page) -> bool {
        let frame = page.frame();
        let is_huge = |first: u64| (first..first + HUGE_PAGES as u64).contains(&frame);
        frame != 0 && (self.small == Some(frame) || self.huge.is_some_and(is_huge))
    }
}

fn zeros() -> &'static Zeros {
    static ZEROS: OnceLock<Zeros> = OnceLock::new();
    ZEROS.get_or_init(|| {
        let [small, _] = frames_of_untouched(libc::MADV_NOHUGEPAGE).unwrap_or_default();
        let [first, second] = frames_of_untouched(libc::MADV_HUGEPAGE).unwrap_or_default();
        // Without huge pages the second page is another page of zeros, or none.
        Zeros { small: nonzero(small), huge: nonzero(first).filter(|_| second == first + 1) }
    })
}

fn nonzero(frame: u64) -> Option<u64> {
    (frame != 0).then_some(frame)
}

/// The first two frames that a process gets, memtrace itself, where it reads and never writes.
fn frames_of_untouched(advice: libc::c_int) -> Option<[u64; 2]> {
    let size = HUGE_PAGES * PAGE_BYTES as usize;
    let (access, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of twice the size, somewhere.
    let memory = unsafe { libc::mmap(ptr::null_mut(), 2 * size, access, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return None;
    }
    let start = memory.addr().next_multiple_of(size);
    let aligned = memory.with_addr(start);
    // SAFETY: the mapping's own addresses; it may refuse, and then there are no huge pages.
    unsafe { libc::madvise(aligned, size, advice) };
    // SAFETY: within the mapping, which holds zeros.
    unsafe { aligned.cast::<u8>().read_volatile() };
    let pages = pagemap::read_own_pages(start as u64, 2);
    // SAFETY: the mapping of above, of which nothing is kept.
    unsafe { libc::munmap(memory, 2 * size) };
    let [first, second] = *pages.ok()? else { return None };
    Some([first.frame(), second.frame()])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::super::{Process, workload::Workload},
        *,
    };

    #[test]
    fn what_was_only_read_is_not_resident() {
        let script = "import mmap, ctypes
m = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(10): m[page * 4096] = 1
sum(m[page * 4096] for page in range(64))
print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)";
        let python = Workload::python(script);
        let start: u64 = python.first_line().parse().unwrap();
        let memory = Process::open(python.pid()).unwrap().memory();
        let deadline = Instant::now() + Duration::from_secs(10);
        let runs = memory.runs(Range { start, end: start + 64 * PAGE_BYTES }, deadline).unwrap();
        let [run] = runs[..] else { panic!("{runs:?}") };
        assert_eq!(run.range, Range { start, end: start + 10 * PAGE_BYTES });
        assert!(!run.is_file_or_shared && !run.is_swapped);
    }
}
