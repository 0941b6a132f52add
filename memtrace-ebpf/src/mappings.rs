//! System calls of traced processes that map memory and give it back. The event is that of the end
//! of any system call, of any process, so what matters to others comes first: which call it was.
//! `mprotect` is not among them: it makes nothing resident and gives nothing back.

use aya_ebpf::{
    bindings::pt_regs,
    macros::{btf_tracepoint, map},
    maps::Array,
    programs::BtfTracePointContext,
};
use memtrace_abi::{
    allocation::place,
    loss::Loss,
    pages::{Event, kind, mapped},
    process::{MAX_PROCESSES, Process, state},
    unwind::Registers,
};

use crate::{
    direct::{self, Area, Range},
    faults, given_up, losses, processes,
    threads::{self, Thread},
    verifier::forget,
    walk::{self, Start},
};

/// The end of the heap, by process slot; 0 until it is known.
#[map]
static HEAP_ENDS: Array<u64> = Array::with_max_entries(MAX_PROCESSES, 0);

const PAGE: u64 = 4096;
const MAX_ERROR: u64 = 4095;
/// `MADV_DONTNEED`, `MADV_FREE`, `MADV_REMOVE` and `MADV_DONTNEED_LOCKED`.
const DISCARDING: [u64; 3] = [4, 9, 24];
const OFFERING: u64 = 8;
/// `MREMAP_DONTUNMAP`
const KEEPS_OLD: u64 = 4;
/// `MAP_ANONYMOUS`, `MAP_SHARED`, and what tells the stack of a thread: `MAP_STACK`.
const ANONYMOUS: u64 = 0x20;
/// `PROT_WRITE`
const WRITE: u64 = 2;
const SHARED: u64 = 1;
const STACK: u64 = 0x20000;
/// `MAP_DENYWRITE`, which does nothing: the dynamic linker maps libraries with it.
const LIBRARY: u64 = 0x800;

/// A child begins with its parent's heap.
pub(crate) fn inherit(parent: u32, child: u32) {
    if let (Some(parent), Some(child)) = (HEAP_ENDS.get(parent), HEAP_ENDS.get_ptr_mut(child)) {
        // SAFETY: a map value, one aligned word; the child has not begun.
        unsafe { child.write_volatile(*parent) };
    }
}

/// A system call of a traced process that has succeeded.
struct Call {
    process: &'static Process,
    slot: u32,
    registers: &'static pt_regs,
    result: u64,
}

/// What a call has done, for the ledger and for the loader. Empty ranges are none. It is kept with the
/// thread: the program's stack is small, and of what is read from there the verifier does not know
/// where it comes from, which it would go through once for each way.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Change {
    /// What is unmapped, or moved away.
    released: Range,
    /// What is replaced by what comes there.
    replaced: Range,
    /// What is mapped that was not before.
    mapped: Range,
    /// The mapping that this belongs to.
    whole: Range,
    /// Of the event that tells of `mapped`.
    kind: u64,
    /// Of the place in the ledger; [`place::BLOCK`]: it does not belong there.
    place: u64,
}

const NOTHING: Range = Range { start: 0, size: 0 };
const NO_CHANGE: Change = Change {
    released: NOTHING,
    replaced: NOTHING,
    mapped: NOTHING,
    whole: NOTHING,
    kind: 0,
    place: 0,
};

impl Change {
    const fn unmap(start: u64, size: u64) -> Self {
        Self { released: Range { start, size }, ..NO_CHANGE }
    }

    const fn map(kind: u32, range: Range, place: u32) -> Self {
        let (kind, place) = (kind as u64, place as u64);
        Self { mapped: range, whole: range, kind, place, ..NO_CHANGE }
    }
}

/// Numbers of system calls on x86-64.
mod number {
    pub(super) const MMAP: u64 = 9;
    pub(super) const MUNMAP: u64 = 11;
    pub(super) const BRK: u64 = 12;
    pub(super) const MREMAP: u64 = 25;
    pub(super) const MADVISE: u64 = 28;
    pub(super) const SHMAT: u64 = 30;
    pub(super) const SHMDT: u64 = 67;

    pub(super) const fn is_of_memory(number: u64) -> bool {
        matches!(number, MMAP | MUNMAP | BRK | MREMAP | MADVISE | SHMAT | SHMDT)
    }
}

#[btf_tracepoint(function = "sys_exit")]
fn system_call_return(ctx: BtfTracePointContext) -> i32 {
    let registers: *const pt_regs = ctx.arg(0);
    // SAFETY: the registers with which the thread came from user space.
    let registers = unsafe { &*registers };
    if number::is_of_memory(registers.orig_rax)
        && let Some(slot) = processes::slot(processes::current())
        && let Some(process) = processes::recorded(slot)
    {
        let result: u64 = ctx.arg(1);
        if result <= u64::MAX - MAX_ERROR {
            losses::exit(Call { process, slot, registers, result }.tell());
        }
    }
    0
}

impl Call {
    fn tell(&self) -> Result<(), Loss> {
        let thread = threads::current()?;
        decide(self, &mut thread.change)?;
        given_up::note(self.process, self.slot, &thread.change.released);
        given_up::note(self.process, self.slot, &thread.change.replaced);
        if self.process.state != state::SHED {
            direct::release(self.slot, &thread.change.released, &thread.change.replaced);
        }
        if thread.change.whole.size > 0 { self.record(thread) } else { Ok(()) }
    }

    fn change(&self) -> Result<Change, Loss> {
        let pt_regs { rdi: start, rsi: size, .. } = *self.registers;
        let size = up(size);
        match self.registers.orig_rax {
            number::MMAP => Ok(self.map(size)),
            number::SHMAT => {
                let start = self.result;
                Ok(Change::map(kind::ATTACHED, Range { start, size: PAGE }, place::BLOCK))
            }
            number::MREMAP => self.remap(),
            number::BRK => self.move_heap_end(),
            number::MUNMAP => self.unmap(start, size),
            number::SHMDT => self.report(kind::DETACHED, start, 0, 0),
            _ => self.advise(),
        }
    }

    fn map(&self, size: u64) -> Change {
        let pt_regs { rdx: access, r10: flags, .. } = *self.registers;
        // What is nobody else's and may not be written to holds nothing of its own.
        let is_reserved = access & WRITE == 0 && flags & (SHARED | STACK) == 0;
        let place = if is_reserved || flags & LIBRARY != 0 {
            place::BLOCK
        } else if flags & (ANONYMOUS | SHARED | STACK) == ANONYMOUS {
            place::PRIVATE_MAPPING
        } else {
            place::OTHER_MAPPING
        };
        let range = Range { start: self.result, size };
        // It may replace what was mapped there.
        Change { replaced: range, ..Change::map(kind::MAPPED, range, place) }
    }

    fn unmap(&self, start: u64, size: u64) -> Result<Change, Loss> {
        self.report(kind::UNMAPPED, start, size, 0)?;
        Ok(Change::unmap(start, size))
    }

    fn advise(&self) -> Result<Change, Loss> {
        let pt_regs { rdi: start, rsi: size, rdx: advice, .. } = *self.registers;
        if DISCARDING.contains(&advice) {
            self.report(kind::DISCARDED, start, size, 0)
        } else if advice == OFFERING {
            self.report(kind::OFFERED, start, size, 0)
        } else {
            Ok(NO_CHANGE)
        }
    }

    fn remap(&self) -> Result<Change, Loss> {
        let pt_regs { rdi: old, rsi: old_size, rdx: size, r10: flags, .. } = *self.registers;
        let (old_size, size, new) = (up(old_size), up(size), self.result);
        let place = direct::kind_at(self.area(Range { start: old, size: old_size }));
        let keeps_old = flags & KEEPS_OLD != 0;
        if old != new {
            self.report(kind::UNMAPPED, new, size, 0)?;
            self.report(kind::MOVED, old, if old_size < size { old_size } else { size }, new)?;
            if !keeps_old {
                self.report(kind::UNMAPPED, old, old_size, 0)?;
            }
        } else if size < old_size {
            self.report(kind::UNMAPPED, old + size, old_size - size, 0)?;
        }
        let grown = size.saturating_sub(old_size);
        let whole = Range { start: new, size };
        // What was allocated is allocated anew, as by `realloc`.
        let is_new = grown > 0 || place != place::BLOCK;
        let size = if keeps_old { 0 } else { old_size };
        Ok(Change {
            released: Range { start: old, size },
            replaced: if old == new { NOTHING } else { whole },
            mapped: Range { start: new + whole.size - grown, size: grown },
            whole: if is_new { whole } else { NOTHING },
            kind: kind::MAPPED.into(),
            place: place.into(),
        })
    }

    fn move_heap_end(&self) -> Result<Change, Loss> {
        let Some(end) = HEAP_ENDS.get_ptr_mut(self.slot) else { return Ok(NO_CHANGE) };
        // SAFETY: a map value; the kernel lets one thread at a time change the heap's end.
        let old = unsafe { end.replace(self.result) };
        let (old, new) = (up(old), up(self.result));
        if old == 0 || old == new {
            Ok(NO_CHANGE)
        } else if new > old {
            let range = Range { start: old, size: new - old };
            Ok(Change::map(kind::MAPPED, range, place::PRIVATE_MAPPING))
        } else {
            self.unmap(new, old - new)
        }
    }

    /// What a mapping is for, as [`mapped`] has it.
    fn purpose(&self, place: u64) -> u64 {
        let pt_regs { orig_rax: call, r10: flags, .. } = *self.registers;
        let is_private = place == u64::from(place::PRIVATE_MAPPING);
        let has_no_file = call == number::MMAP && flags & (ANONYMOUS | SHARED) == ANONYMOUS;
        if is_private {
            forget(mapped::ANONYMOUS | mapped::FILLED)
        } else if has_no_file {
            forget(mapped::ANONYMOUS)
        } else {
            forget(if place == u64::from(place::BLOCK) { 0 } else { mapped::FILLED })
        }
    }

    fn area(&self, range: Range) -> Area {
        Area { process: self.slot, start: range.start, size: range.size }
    }

    fn report(&self, kind: u32, start: u64, size: u64, detail: u64) -> Result<Change, Loss> {
        faults::tell(&Event { kind, process: self.slot, start, size: up(size), stack: 0, detail })?;
        Ok(NO_CHANGE)
    }

    /// Records what was mapped, with the stack that made the call. Inside an allocator it is the
    /// allocator that grows: what it gives away is an allocation, this is not.
    fn record(&self, thread: &mut Thread) -> Result<(), Loss> {
        let pt_regs { rip: pc, rsp: sp, rbp: fp, .. } = *self.registers;
        let registers = Registers { pc, sp, fp };
        let start = Start { registers, call_pc: 0, spread: thread.change.whole.size };
        let stack = walk::record(thread, self.process, self.slot, &start);
        let change = &thread.change;
        let is_growth = thread.calls.are_pending();
        let is_recorded = self.process.state != state::SHED && !is_growth;
        if change.place != u64::from(place::BLOCK) && is_recorded {
            direct::record(self.slot, &change.whole, change.place as u32, stack)?;
        }
        let (kind, detail, Range { start, size }) =
            (change.kind as u32, self.purpose(change.place), change.mapped);
        thread.event = Event { kind, process: self.slot, start, size, stack, detail };
        faults::tell(&thread.event)
    }
}

/// Finds out what a call has done. Not inlined: the program's stack is small.
#[inline(never)]
fn decide(call: &Call, change: &mut Change) -> Result<(), Loss> {
    *change = call.change()?;
    Ok(())
}

/// The next whole page.
fn up(bytes: u64) -> u64 {
    bytes.wrapping_add(PAGE - 1) & !(PAGE - 1)
}
