//! The pages of zeros that the kernel lends to whoever reads what was never written.

use std::{ptr, sync::OnceLock};

use super::{PAGE_BYTES, Page, pagemap};

/// Pages of a huge page.
const HUGE_PAGES: usize = 512;

/// Page frames that hold zeros for everybody. Only a privileged user is told of frames.
#[derive(Debug, Default)]
pub(super) struct Zeros {
    small: Option<u64>,
    huge: Option<u64>,
}

impl Zeros {
    pub(super) fn contains(&self, page: Page) -> bool {
        let frame = page.frame();
        let is_huge = |first: u64| (first..first + HUGE_PAGES as u64).contains(&frame);
        frame != 0 && (self.small == Some(frame) || self.huge.is_some_and(is_huge))
    }
}

/// Those of this machine.
pub(super) fn zeros() -> &'static Zeros {
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
