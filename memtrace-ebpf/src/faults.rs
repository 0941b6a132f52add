//! Page faults of traced processes: which stack touched a page first. The event belongs to the
//! threads of these processes, so that others pay nothing for it.

use aya_ebpf::{
    bindings::{BPF_ANY, pt_regs},
    helpers::{bpf_get_current_task_btf, generated::bpf_task_pt_regs},
    macros::{map, perf_event},
    maps::{Array, RingBuf},
    programs::PerfEventContext,
};
use memtrace_abi::{
    event,
    loss::Loss,
    pages::{BURST, Event, Faults, kind},
    process::MAX_PROCESSES,
    unwind::Registers,
};

use crate::{
    atomic, lifecycle, losses, processes, threads,
    walk::{self, Start},
};

/// What happened to the memory of processes. The loader looks now and then; it is not woken.
#[map]
static PAGE_EVENTS: RingBuf = RingBuf::with_byte_size(1 << 22, 0);
/// By process slot.
#[map]
static FAULTS: Array<Faults> = Array::with_max_entries(MAX_PROCESSES, 0);

/// Whoever reads the events looks for himself (`BPF_RB_NO_WAKEUP`).
const NO_WAKEUP: u64 = 1;

#[perf_event]
fn page_touched(ctx: PerfEventContext) -> u32 {
    let Some(slot) = processes::slot(processes::current()) else { return 0 };
    losses::exit(record(&ctx, slot))
}

fn record(ctx: &PerfEventContext, slot: u32) -> Result<(), Loss> {
    let Some(process) = processes::recorded(slot) else { return Ok(()) };
    if !is_allowed(slot) {
        return Ok(());
    }
    // SAFETY: the program's own context.
    let address = unsafe { (*ctx.ctx).addr };
    // SAFETY: as above.
    let stands_for = unsafe { (*ctx.ctx).sample_period };
    // Without memory at hand for what it needs, the page counts for the nearest one that is told of.
    let Ok(thread) = threads::current() else { return Ok(()) };
    let start = Start { registers: user_registers(), call_pc: 0, spread: 0 };
    let stack = walk::record(thread, process, slot, &start);
    if stack == 0 {
        return Ok(());
    }
    tell(&Event {
        kind: kind::TOUCHED,
        process: slot,
        start: address,
        size: 0,
        stack,
        detail: stands_for,
    })
}

/// Lets faults of a process be recorded that the loader does not know yet.
pub(crate) fn begin(slot: u32) {
    let faults = Faults { allowed: BURST, recorded: 0, skipped: 0 };
    // There are as many entries as slots.
    let _ = FAULTS.set(slot, faults, u64::from(BPF_ANY));
}

/// Whether one more fault may be recorded. The loader is told when none may be any more.
fn is_allowed(slot: u32) -> bool {
    let Some(faults) = FAULTS.get_ptr_mut(slot) else { return false };
    // SAFETY: a map value; its words are changed atomically.
    let faults = unsafe { &mut *faults };
    if atomic::load(&faults.allowed).cast_signed() <= 0 {
        if atomic::fetch_add(&mut faults.skipped, 1) == 0 {
            lifecycle::report(event::kind::FAULTS, slot, 0);
        }
        return false;
    }
    atomic::add(&mut faults.allowed, u64::MAX);
    atomic::add(&mut faults.recorded, 1);
    true
}

/// Of user space, also if the kernel touches the page on its behalf.
fn user_registers() -> Registers {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task_btf() };
    // SAFETY: the task is the current one.
    let saved = unsafe { bpf_task_pt_regs(task) } as *const pt_regs;
    // SAFETY: the kernel gives a place on the thread's kernel stack.
    let saved = unsafe { &*saved };
    Registers { pc: saved.rip, sp: saved.rsp, fp: saved.rbp }
}

/// Tells the loader of an event.
pub(crate) fn tell(event: &Event) -> Result<(), Loss> {
    PAGE_EVENTS.output::<Event>(event, NO_WAKEUP).map_err(|_| Loss::PagesFull)
}
