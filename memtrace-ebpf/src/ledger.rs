//! The accounts: every live allocation, and the totals of each stack and process.
//!
//! Every word is changed atomically and by itself, so the totals are exact whatever happens, and
//! no thread waits for another.

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::HashMap,
};
use memtrace_abi::{
    allocation::{Allocation, Place, StackKey, Totals, place},
    loss::Loss,
    process::ProcessTotals,
};

use crate::{atomic, losses, peak, processes};

/// Live allocations by place.
#[map]
static LIVE: HashMap<Place, Allocation> = HashMap::with_max_entries(1 << 21, BPF_F_NO_PREALLOC);
/// Totals by stack and process.
#[map]
static TOTALS: HashMap<StackKey, Totals> = HashMap::with_max_entries(1 << 17, BPF_F_NO_PREALLOC);

/// Adds a new allocation. Not inlined: the program's stack is small.
#[inline(never)]
pub(crate) fn record(place: &Place, allocation: &Allocation) -> Result<(), Loss> {
    let place = *place;
    let totals = totals_of(place.process, allocation.stack).ok_or(Loss::TotalsFull)?;
    if LIVE.insert(place, allocation, u64::from(BPF_NOEXIST)).is_err() {
        replace(place, allocation)?;
    }
    let process = processes::totals(place.process).ok_or(Loss::TotalsFull)?;
    if place.kind == place::BLOCK {
        // SAFETY: a map value; only this one word of it is touched, atomically.
        atomic::add(unsafe { &mut (*process).allocations }, 1);
    }
    change(process, totals, allocation, true);
    Ok(())
}

/// The place was taken, or the map is full.
fn replace(place: Place, allocation: &Allocation) -> Result<(), Loss> {
    let old = withdraw(place).ok_or(Loss::LiveFull)?;
    losses::count(Loss::ReleaseMissed);
    subtract(place, &old);
    LIVE.insert(place, allocation, u64::from(BPF_ANY)).map_err(|_| Loss::LiveFull)
}

/// Releases what is at a place; whether anything was.
pub(crate) fn release(place: Place) -> bool {
    let Some(allocation) = withdraw(place) else { return false };
    subtract(place, &allocation);
    true
}

/// Whether something is recorded at a place.
pub(crate) fn is_live(place: Place) -> bool {
    // SAFETY: the value is not looked at.
    unsafe { LIVE.get(place) }.is_some()
}

/// Takes an allocation out of the map; the totals still hold it.
pub(crate) fn withdraw(place: Place) -> Option<Allocation> {
    // SAFETY: the process itself orders the uses of an address.
    let allocation = *unsafe { LIVE.get(place) }?;
    LIVE.remove(place).ok()?;
    Some(allocation)
}

/// Puts an allocation where it belongs, the totals of which hold it; whether there was room.
pub(crate) fn put(place: Place, allocation: &Allocation) -> bool {
    let is_put = LIVE.insert(place, allocation, u64::from(BPF_ANY)).is_ok();
    if !is_put {
        losses::count(Loss::LiveFull);
    }
    is_put
}

/// Puts a withdrawn allocation back.
pub(crate) fn restore(place: Place, allocation: &Allocation) {
    if !put(place, allocation) {
        subtract(place, allocation);
    }
}

/// Takes a withdrawn allocation out of the totals.
pub(crate) fn subtract(place: Place, allocation: &Allocation) {
    let Some(totals) = totals_of(place.process, allocation.stack) else {
        return losses::count(Loss::TotalsFull);
    };
    let Some(process) = processes::totals(place.process) else { return };
    if place.kind == place::BLOCK {
        // SAFETY: a map value; only this one word of it is touched, atomically.
        atomic::add(unsafe { &mut (*process).releases }, 1);
    }
    change(process, totals, allocation, false);
}

fn totals_of(process: u32, stack: u64) -> Option<*mut Totals> {
    let key = StackKey { stack, process, reserved: 0 };
    TOTALS.get_ptr_mut(key).or_else(|| {
        // Another thread may make it first; the look-up decides.
        let _ = TOTALS.insert(key, Totals::default(), u64::from(BPF_NOEXIST));
        TOTALS.get_ptr_mut(key)
    })
}

/// Applies an allocation (`added`) or its release to the totals.
#[inline(never)]
fn change(
    process: *mut ProcessTotals,
    totals: *mut Totals,
    allocation: &Allocation,
    added: bool,
) -> u32 {
    // SAFETY: a map value, which outlives the program; words are read and written whole.
    let process = unsafe { &mut *process };
    // SAFETY: the same.
    let totals = unsafe { &mut *totals };
    let sign = if added { 1 } else { -1 };
    let bytes = allocation.bytes.cast_signed().wrapping_mul(sign);
    let objects = allocation.objects.cast_signed().wrapping_mul(sign);
    if !peak::note(process, totals, bytes, objects) {
        losses::count(Loss::PeakUncertain);
    }
    atomic::add(&mut totals.live_bytes, bytes.cast_unsigned());
    atomic::add(&mut totals.live_objects, objects.cast_unsigned());
    atomic::add(&mut process.live_bytes, bytes.cast_unsigned());
    atomic::add(&mut process.live_objects, objects.cast_unsigned());
    if added {
        count_allocation(process, totals, allocation);
    }
    0
}

fn count_allocation(process: &mut ProcessTotals, totals: &mut Totals, allocation: &Allocation) {
    let Allocation { bytes, objects, .. } = *allocation;
    atomic::add(&mut totals.allocated_bytes, bytes);
    atomic::add(&mut totals.allocated_objects, objects);
    atomic::add(&mut process.allocated_bytes, bytes);
    atomic::add(&mut process.allocated_objects, objects);
}

fn count(process: u32, counter: impl Fn(&mut ProcessTotals) -> &mut u64) {
    if let Some(totals) = processes::totals(process) {
        // SAFETY: a map value; only this one word of it is touched, atomically.
        atomic::add(counter(unsafe { &mut *totals }), 1);
    }
}

/// A release of memory that is not recorded.
pub(crate) fn count_unknown_release(process: u32) {
    count(process, |totals| &mut totals.unknown_releases);
}

/// A call that returned no memory.
pub(crate) fn count_failure(process: u32) {
    count(process, |totals| &mut totals.failures);
}

/// A call that the allocator made to itself.
pub(crate) fn count_nested(process: u32) {
    count(process, |totals| &mut totals.nested_calls);
}

/// An allocation for which another one stands.
pub(crate) fn count_unsampled(process: u32) {
    count(process, |totals| &mut totals.allocations);
}

/// An allocating function was entered.
pub(crate) fn count_call(process: u32) {
    count(process, |totals| &mut totals.calls);
}

/// A releasing function was entered.
pub(crate) fn count_release_call(process: u32) {
    count(process, |totals| &mut totals.release_calls);
}
