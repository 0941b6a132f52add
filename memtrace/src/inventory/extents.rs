//! What a process has mapped, as far as it matters to its objects.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use memtrace_abi::mapping::Range;

use crate::{
    heap::Extent,
    process::{
        Process,
        mappings::{Kind, Mapping, Mappings},
    },
};

/// A process maps more while it is read: then it is asked again, not more often than this.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What is mapped, as it was known last.
pub(super) struct Extents {
    process: Process,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    list: Vec<(Range, Kind)>,
    looked: Option<Instant>,
}

impl Extents {
    pub(super) fn new(process: &Process) -> Self {
        Self { process: process.clone(), known: Mutex::default() }
    }

    /// What is mapped around an address.
    pub(super) fn at(&self, address: u64) -> Option<Extent> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.at(address).or_else(|| {
            let is_recent = known.looked.is_some_and(|looked| looked.elapsed() < BETWEEN_LOOKS);
            if is_recent {
                return None;
            }
            // What cannot be asked for has no extent.
            known.list =
                self.process.mappings().map(|mappings| joined(&mappings)).unwrap_or_default();
            known.looked = Some(Instant::now());
            known.at(address)
        })
    }
}

impl Known {
    fn at(&self, address: u64) -> Option<Extent> {
        let behind = self.list.partition_point(|(range, _)| range.start <= address);
        let (range, kind) = self.list[..behind].last()?;
        let extent = Extent { end: range.end, is_break: *kind == Kind::Heap };
        range.contains(address).then_some(extent)
    }
}

/// Mappings of one kind that touch are one: a program may have advised the kernel on a part. Who has a
/// reference to an object counts it there, so none lies where nobody may write: what a library's
/// relocations consist of looks like objects of a Python whose own addresses are small numbers.
fn joined(mappings: &Mappings) -> Vec<(Range, Kind)> {
    let mut list: Vec<(Range, Kind)> = Vec::new();
    let is_changed =
        |mapping: &&Mapping| mapping.permissions.is_readable() && mapping.permissions.is_writable();
    for mapping in mappings.list.iter().filter(is_changed) {
        let (range, kind) = (mapping.range, mapping.kind());
        match list.last_mut().filter(|last| last.0.end == range.start && last.1 == kind) {
            Some(last) => last.0.end = range.end,
            None => list.push((range, kind)),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_of_one_kind_that_touch_are_one() {
        let lines = "10000-20000 rw-p 0 00:00 0 [heap]\n20000-21000 rw-p 0 00:00 0 \n\
                     21000-30000 rw-p 0 00:00 0 [anon:x]\n30000-31000 ---p 0 00:00 0 \n\
                     40000-50000 r--p 0 fe:00 7 /lib/x.so\n";
        let list = joined(&Mappings::parse(lines.as_bytes()));
        let known = Known { list, looked: None };
        let at = |address| known.at(address).map(|extent| (extent.end, extent.is_break));
        assert_eq!((at(0x1_ffff), at(0x2_0000)), (Some((0x2_0000, true)), Some((0x3_0000, false))));
        assert_eq!((at(0xffff), at(0x3_0000), at(0x4_0000)), (None, None, None));
    }
}
