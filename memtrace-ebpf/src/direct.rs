//! Mappings that a program makes itself, without an allocator: allocations in the ledger, by the
//! address at which they begin. Parts of them may be unmapped at either end.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC},
    helpers::bpf_loop,
    macros::map,
    maps::HashMap,
};
use memtrace_abi::{
    allocation::{Allocation, OBJECT, Place, place},
    loss::Loss,
};

use crate::ledger;

/// Where a mapping begins, by where it ends.
#[map]
static MAPPING_ENDS: HashMap<Place, u64> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);

/// Mappings that one call may unmap, some milliseconds of work; what lies between them then stays
/// recorded. Below the top of a heap that has grown by 2 GiB lie as many.
const MOST_AT_ONCE: u32 = 1 << 14;

/// A range of addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

/// A range of addresses of a process.
#[derive(Clone, Copy)]
pub(crate) struct Area {
    pub(crate) process: u32,
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl Area {
    const fn at(self, address: u64, kind: u32) -> Place {
        Place { address, process: self.process, kind }
    }

    const fn end(self) -> Place {
        self.at(self.behind(), place::BLOCK)
    }

    /// The first address behind it.
    const fn behind(self) -> u64 {
        self.start.wrapping_add(self.size)
    }
}

/// Records a mapping of a process. Not inlined: the program's stack is small.
#[inline(never)]
pub(crate) fn record(process: u32, range: &Range, kind: u32, stack: u64) -> Result<(), Loss> {
    let Range { start, size } = *range;
    let area = Area { process, start, size };
    MAPPING_ENDS.insert(area.end(), start, u64::from(BPF_ANY)).map_err(|_| Loss::LiveFull)?;
    let allocation = Allocation { stack, size, bytes: size, objects: OBJECT };
    ledger::record(&area.at(start, kind), &allocation)
}

/// The kind of the mapping that begins where the area does; [`place::BLOCK`]: none is recorded.
pub(crate) fn kind_at(area: Area) -> u32 {
    for kind in [place::PRIVATE_MAPPING, place::OTHER_MAPPING] {
        if ledger::is_live(area.at(area.start, kind)) {
            return kind;
        }
    }
    place::BLOCK
}

/// What `bpf_loop` passes to each turn. The verifier wants it on the program's stack.
struct Releasing {
    area: Area,
    next: Area,
}

/// Records that addresses of a process are unmapped, here and there.
#[inline(never)]
pub(crate) fn release(process: u32, range: &Range, next: &Range) {
    let area = |range: &Range| Area { process, start: range.start, size: range.size };
    let mut releasing = Releasing { area: area(range), next: area(next) };
    // SAFETY: `turn` has the signature that `bpf_loop` calls; `releasing` outlives the call.
    unsafe { bpf_loop(MOST_AT_ONCE, turn as *mut c_void, (&raw mut releasing).cast(), 0) };
}

/// Releases one mapping, or a part of one; returns 1 to stop.
extern "C" fn turn(_index: u64, releasing: *mut Releasing) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let releasing = unsafe { &mut *releasing };
    if release_one(&mut releasing.area).is_none() || releasing.area.size == 0 {
        releasing.area = releasing.next;
        releasing.next.size = 0;
    }
    i64::from(releasing.area.size == 0)
}

/// `None` if nothing is left of the area, or nothing was found.
fn release_one(area: &mut Area) -> Option<()> {
    if area.size == 0 {
        return None;
    }
    let start = first(*area)?;
    let place = area.at(start, kind_at(Area { start, ..*area }));
    let allocation = ledger::withdraw(place)?;
    let whole = Area { start, size: allocation.size, ..*area };
    let _ = MAPPING_ENDS.remove(whole.end());
    if start > area.start {
        // It lies within the area, at its end.
        ledger::subtract(place, &allocation);
        area.size = start - area.start;
        return Some(());
    }
    // What is left lies before the area or behind it.
    let before = area.start.saturating_sub(start);
    let behind = whole.behind().saturating_sub(area.behind());
    let (rest, size) =
        if before > 0 { (start, before) } else { (area.behind(), behind.min(allocation.size)) };
    let kept =
        if keep(Area { start: rest, size, ..*area }, place.kind, &allocation) { size } else { 0 };
    let gone = Allocation {
        bytes: allocation.bytes.saturating_sub(kept),
        objects: if kept > 0 { 0 } else { allocation.objects },
        ..allocation
    };
    ledger::subtract(place, &gone);
    let end = area.behind();
    area.start = whole.behind().min(end);
    area.size = end - area.start;
    Some(())
}

/// Where the mapping begins that begins or ends where the area does.
fn first(area: Area) -> Option<u64> {
    if kind_at(area) != place::BLOCK {
        return Some(area.start);
    }
    // SAFETY: the process itself orders the uses of an address.
    Some(*unsafe { MAPPING_ENDS.get(area.end()) }?)
}

/// What is left of a withdrawn mapping stays live; whether there is any.
fn keep(rest: Area, kind: u32, allocation: &Allocation) -> bool {
    let Area { start, size, .. } = rest;
    let allocation = Allocation { size, bytes: size, ..*allocation };
    size > 0
        && MAPPING_ENDS.insert(rest.end(), start, u64::from(BPF_ANY)).is_ok()
        && ledger::put(rest.at(start, kind), &allocation)
}
