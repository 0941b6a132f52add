//! Which parts of a process's memory are resident, in runs of pages.

use std::time::Instant;

use anyhow::Context as _;
use memtrace_abi::mapping::Range;

use super::{
    Memory, PAGE_BYTES, Page,
    scan::{self, Region},
};

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

/// What was found in a range.
#[derive(Debug, Default)]
pub struct Runs {
    /// By address.
    pub list: Vec<Run>,
    /// Whether there was time for all of it.
    pub is_complete: bool,
}

impl Runs {
    /// Bytes in memory.
    #[must_use]
    pub fn resident(&self) -> u64 {
        let resident = self.list.iter().filter(|run| !run.is_swapped);
        resident.map(|run| run.range.end - run.range.start).sum()
    }
}

impl Memory {
    /// The pages of a page-aligned range that are in memory or swapped out, as far as they are seen in
    /// time. The pages of zeros that the kernel lends to whoever reads what was never written are
    /// neither: it does not count them.
    pub fn runs(&self, range: Range, deadline: Instant) -> anyhow::Result<Runs> {
        let mut runs = Runs::default();
        let mut start = range.start;
        while start < range.end {
            if Instant::now() >= deadline {
                return Ok(runs);
            }
            let rest = Range { start, end: range.end };
            let next = match self.scan(rest)? {
                Some(next) => runs.take_in(next),
                None => runs.take_in_pages(start, &self.pages(rest)?),
            };
            if next <= start {
                break;
            }
            start = next;
        }
        runs.is_complete = true;
        Ok(runs)
    }

    fn scan(&self, range: Range) -> anyhow::Result<Option<(Vec<Region>, u64)>> {
        self.ask(move |_, files| scan::scan(&files.pagemap, range))
            .with_context(|| format!("scan the pages of process {}", self.process.pid()))
    }
}

impl Runs {
    /// Returns up to where that is known.
    fn take_in(&mut self, (regions, end): (Vec<Region>, u64)) -> u64 {
        for region in regions {
            self.push(Run {
                range: region.range(),
                is_file_or_shared: region.is_file_or_shared(),
                is_swapped: region.is_swapped(),
            });
        }
        end
    }

    fn take_in_pages(&mut self, mut start: u64, pages: &[Page]) -> u64 {
        for page in pages {
            let Some(end) = start.checked_add(PAGE_BYTES) else { break };
            if page.is_swapped() || page.is_counted() {
                self.push(Run {
                    range: Range { start, end },
                    is_file_or_shared: page.is_file_or_shared(),
                    is_swapped: page.is_swapped(),
                });
            }
            start = end;
        }
        start
    }

    fn push(&mut self, run: Run) {
        match self.list.last_mut() {
            Some(last) if last.range.end == run.range.start && last.is_like(&run) => {
                last.range.end = run.range.end;
            }
            _ => self.list.push(run),
        }
    }
}

impl Run {
    fn is_like(&self, other: &Self) -> bool {
        self.is_file_or_shared == other.is_file_or_shared && self.is_swapped == other.is_swapped
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::super::{Process, workload::Workload},
        *,
    };

    const SCRIPT: &str = "import mmap, ctypes
m = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
for page in range(10): m[page * 4096] = 1
sum(m[page * 4096] for page in range(64))
m[1 << 39] = 1
print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)";

    fn workload() -> (Workload, Memory, u64) {
        let python = Workload::python(SCRIPT);
        let start = python.first_line().parse().unwrap();
        let memory = Process::open(python.pid()).unwrap().memory();
        (python, memory, start)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn what_was_only_read_is_not_resident() {
        let (_python, memory, start) = workload();
        let range = Range { start, end: start + 64 * PAGE_BYTES };
        let Runs { list, is_complete } = memory.runs(range, soon()).unwrap();
        let [run] = list[..] else { panic!("{list:?}") };
        assert_eq!(run.range, Range { start, end: start + 10 * PAGE_BYTES });
        assert!(!run.is_file_or_shared && !run.is_swapped && is_complete);
    }

    #[test]
    fn without_a_scan_by_the_kernel_each_page_is_looked_at() {
        let (_python, memory, start) = workload();
        let range = Range { start, end: start + 64 * PAGE_BYTES };
        let mut runs = Runs::default();
        assert_eq!(runs.take_in_pages(start, &memory.pages(range).unwrap()), range.end);
        assert_eq!(runs.list, memory.runs(range, soon()).unwrap().list);
    }

    #[test]
    fn a_page_in_a_tebibyte_is_found() {
        let (_python, memory, start) = workload();
        // Before Linux 6.7 it would take seconds.
        let can_scan = memory.scan(Range { start, end: start + PAGE_BYTES }).unwrap().is_some();
        let deadline = if can_scan { soon() } else { Instant::now() };
        let runs = memory.runs(Range { start, end: start + (1 << 40) }, deadline).unwrap();
        assert_eq!(runs.is_complete, can_scan);
        let last = runs.list.last().map(|run| run.range.start);
        assert_eq!(last, can_scan.then_some(start + (1 << 39)));
    }

    #[test]
    fn of_thousands_of_runs_each_is_found_once() {
        let script = "import mmap, ctypes
m = mmap.mmap(-1, 5000 * 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(5000): m[page * 8192] = 1
print(ctypes.addressof(ctypes.c_char.from_buffer(m)), flush=True)";
        let python = Workload::python(script);
        let start = python.first_line().parse().unwrap();
        let memory = Process::open(python.pid()).unwrap().memory();
        let runs = memory.runs(Range { start, end: start + 5000 * 8192 }, soon()).unwrap();
        let starts: Vec<_> = runs.list.iter().map(|run| run.range.start).collect();
        assert_eq!(starts, (start..).step_by(8192).take(5000).collect::<Vec<_>>());
    }

    #[test]
    fn what_there_is_no_time_for_is_told() {
        let (_python, memory, start) = workload();
        let range = Range { start, end: start + (1 << 40) };
        assert!(!memory.runs(range, Instant::now()).unwrap().is_complete);
    }
}
