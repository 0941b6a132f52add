//! Asks the kernel for the pages of a range that are in memory or swapped out, without one answer for
//! each page between them (`PAGEMAP_SCAN`, since Linux 6.7; Documentation/admin-guide/mm/pagemap.rst).

use std::{fs::File, io, os::fd::AsRawFd as _};

use memtrace_abi::mapping::Range;

/// `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl = 0xc060_6610_u32 as libc::Ioctl;
const IS_FILE: u64 = 1 << 2;
const IS_PRESENT: u64 = 1 << 3;
const IS_SWAPPED: u64 = 1 << 4;
/// The page of zeros that the kernel lends to whoever reads what was never written, also a huge one.
const IS_ZEROS: u64 = 1 << 5;
/// Answers to one call. The kernel writes them in batches of so many, and after more than one batch
/// `walk_end` is that of the last but one (Linux 6.18, `pagemap_scan_flush_buffer`).
const REGIONS: usize = 512;
/// Pages that one call may find, so that the target's memory map is not locked for long: a GiB.
const MAX_PAGES: u64 = 1 << 18;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Arguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    region_count: u64,
    max_pages: u64,
    inverted: u64,
    mask: u64,
    any_of: u64,
    returned: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

impl Region {
    pub(super) const fn range(&self) -> Range {
        Range { start: self.start, end: self.end }
    }

    pub(super) const fn is_file_or_shared(&self) -> bool {
        self.categories & IS_FILE > 0
    }

    pub(super) const fn is_swapped(&self) -> bool {
        self.categories & IS_SWAPPED > 0
    }
}

/// Whether this kernel can.
#[must_use]
pub fn is_supported() -> bool {
    let own = File::open("/proc/self/pagemap");
    own.is_ok_and(|pagemap| matches!(scan(&pagemap, Range { start: 0, end: 4096 }), Ok(Some(_))))
}

/// Regions from the start of a page-aligned range on, and up to where it was looked at. `None`: this
/// kernel cannot tell, or not of these addresses.
pub(super) fn scan(pagemap: &File, range: Range) -> io::Result<Option<(Vec<Region>, u64)>> {
    let mut regions = vec![Region::default(); REGIONS];
    let mut arguments = Arguments {
        size: size_of::<Arguments>() as u64,
        start: range.start,
        end: range.end,
        regions: regions.as_mut_ptr() as u64,
        region_count: REGIONS as u64,
        max_pages: MAX_PAGES,
        inverted: IS_ZEROS,
        mask: IS_ZEROS,
        any_of: IS_PRESENT | IS_SWAPPED,
        returned: IS_FILE | IS_SWAPPED,
        ..Arguments::default()
    };
    // SAFETY: the kernel writes as many regions as there is room for, and `walk_end`.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut arguments) };
    let Ok(found) = usize::try_from(found) else {
        let error = io::Error::last_os_error();
        if error.raw_os_error() == Some(libc::ESRCH) {
            // It has ended, and has no memory any more.
            return Ok(Some((Vec::new(), range.end)));
        }
        // Also of addresses that are none of a program.
        let unknown = [libc::ENOTTY, libc::EINVAL, libc::EFAULT].map(Some);
        let is_unknown = unknown.contains(&error.raw_os_error());
        return if is_unknown { Ok(None) } else { Err(error) };
    };
    regions.truncate(found);
    let end = regions.last().map_or(0, |region| region.end);
    Ok(Some((regions, arguments.walk_end.max(end))))
}
