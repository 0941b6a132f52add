//! Code that processes have given up since the loader read their mappings: what is there now is not
//! what was there then. A stack through it has a gap until the loader has read them again.

use aya_ebpf::{macros::map, maps::Array};
use memtrace_abi::process::{MAX_PROCESSES, Process};

use crate::{direct::Range, native};

/// By process slot.
#[map]
static GIVEN_UP: Array<GivenUp> = Array::with_max_entries(MAX_PROCESSES, 0);

#[repr(C)]
struct GivenUp {
    /// How often code was given up.
    times: u64,
    /// Addresses that hold all of it, and may hold more.
    start: u64,
    end: u64,
}

/// Notes that a process has unmapped a range, or mapped something else there. Threads that do so at
/// the same time are those that unload libraries, one of which at a time the dynamic linker lets.
#[inline(never)]
pub(crate) fn note(process: &Process, slot: u32, range: &Range) -> u32 {
    if range.size == 0 || !native::has_code(process, range) {
        return 0;
    }
    let Some(given_up) = GIVEN_UP.get_ptr_mut(slot) else { return 0 };
    // SAFETY: a map value, which outlives the program; words are read and written whole.
    let given_up = unsafe { &mut *given_up };
    let end = range.start.wrapping_add(range.size);
    if given_up.times == process.code_given_up {
        (given_up.start, given_up.end) = (range.start, end);
    } else {
        given_up.start = given_up.start.min(range.start);
        given_up.end = given_up.end.max(end);
    }
    given_up.times = given_up.times.wrapping_add(1);
    0
}

/// Whether code that was at an address may have been given up. To be asked before the mappings are
/// looked at: they are written first.
pub(crate) fn holds(process: &Process, slot: u32, address: u64) -> bool {
    let Some(given_up) = GIVEN_UP.get(slot) else { return true };
    given_up.times != process.code_given_up && given_up.start <= address && address < given_up.end
}

/// How often a process has given up code.
pub(crate) fn times(slot: u32) -> u64 {
    GIVEN_UP.get(slot).map_or(0, |given_up| given_up.times)
}

/// A child begins with its parent's code.
pub(crate) fn inherit(parent: u32, child: u32) {
    if let (Some(parent), Some(child)) = (GIVEN_UP.get(parent), GIVEN_UP.get_ptr_mut(child)) {
        let GivenUp { times, start, end } = *parent;
        // SAFETY: a map value; the child has not begun.
        unsafe { child.write(GivenUp { times, start, end }) };
    }
}
