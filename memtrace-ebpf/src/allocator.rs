//! Probes on allocator functions. What a function does is in the probe's cookie, so three programs
//! serve every allocator.

use aya_ebpf::{
    EbpfContext,
    bindings::pt_regs,
    helpers::bpf_get_prandom_u32,
    macros::{map, uprobe, uretprobe},
    maps::Array,
    programs::{ProbeContext, RetProbeContext},
};
use memtrace_abi::{
    allocation::{Allocation, Place, place as kinds},
    loss::Loss,
    probe::{Cookie, Meaning},
    process::Process,
    sampling::{self, Weight},
};

use crate::{
    calls::{self, Call},
    ledger, losses, memory, own_stack,
    processes::{self, cookie},
    threads, walk,
};

/// Bytes between samples; 0 records everything. One entry, written before anything is attached.
#[map]
static SAMPLE_INTERVAL: Array<u64> = Array::with_max_entries(1, 0);

#[uprobe]
fn allocation_enter(ctx: ProbeContext) -> u32 {
    let cookie = cookie(ctx.as_ptr());
    let Some(process) = processes::traced(cookie.process) else { return ignore(&ctx) };
    ledger::count_call(cookie.process);
    losses::exit(remember(registers(ctx.as_ptr()), process, cookie))
}

#[uretprobe]
fn allocation_return(ctx: RetProbeContext) -> u32 {
    let cookie = cookie(ctx.as_ptr());
    let Some(process) = processes::traced(cookie.process) else { return ignore(&ctx) };
    losses::exit(complete(registers(ctx.as_ptr()), process, cookie))
}

#[uprobe]
fn release_enter(ctx: ProbeContext) -> u32 {
    let cookie = cookie(ctx.as_ptr());
    let Some(_) = processes::traced(cookie.process) else { return ignore(&ctx) };
    ledger::count_release_call(cookie.process);
    let (first, second) = arguments(registers(ctx.as_ptr()));
    let address = if cookie.meaning == Meaning::FreeOwned as u8 { second } else { first };
    if address != 0 {
        release(place(address, cookie));
    }
    0
}

/// Of a process that is not traced, or not yet.
#[expect(clippy::inline_always, reason = "it is a part of the program: see there")]
#[inline(always)]
fn ignore(ctx: &impl EbpfContext) -> u32 {
    own_stack::keep(ctx);
    0
}

/// Does nothing: what it costs is what a probe costs.
#[uprobe]
fn empty_enter(_ctx: ProbeContext) -> u32 {
    0
}

/// As `empty_enter`, for the return of a function.
#[uretprobe]
fn empty_return(_ctx: RetProbeContext) -> u32 {
    0
}

fn registers(context: *mut core::ffi::c_void) -> &'static pt_regs {
    // SAFETY: a uprobe's context is the interrupted thread's `pt_regs`.
    unsafe { &*context.cast::<pt_regs>() }
}

/// The first two arguments. Both are read: the verifier refuses to read the one of two places that the
/// compiler would choose.
fn arguments(registers: &pt_regs) -> (u64, u64) {
    // SAFETY: it is a reference to the registers.
    let first = unsafe { (&raw const registers.rdi).read_volatile() };
    // SAFETY: as above.
    let second = unsafe { (&raw const registers.rsi).read_volatile() };
    (first, second)
}

fn place(address: u64, cookie: Cookie) -> Place {
    Place { address, process: cookie.process, kind: kinds::BLOCK }
}

/// Records that an address is given back.
fn release(place: Place) {
    // `realloc` may give the old block back through `free`: that is settled when it returns.
    let is_reallocated =
        || threads::current_if_known().is_some_and(|thread| thread.calls.replace(place.address));
    if !ledger::release(place) && !is_reallocated() {
        ledger::count_unknown_release(place.process);
    }
}

/// Keeps the request until the function returns.
fn remember(registers: &pt_regs, process: &Process, cookie: Cookie) -> Result<(), Loss> {
    let thread = threads::current()?;
    let sp = registers.rsp;
    let return_address = calls::return_address(sp).ok_or(Loss::ResultUnreadable)?;
    let (size, pointer) = request(registers, cookie);
    thread.calls.process = u64::from(cookie.process);
    let call = Call {
        sp,
        return_address,
        pc: registers.rip,
        size,
        pointer,
        withdrawn: Allocation::default(),
        has_withdrawn: 0,
        function: cookie.function,
        nested: 0,
    };
    let call = thread.calls.push(call, process);
    // Another thread may be given the old address before this call returns.
    if reallocates(cookie)
        && call.nested == 0
        && let Some(allocation) = ledger::withdraw(place(call.pointer, cookie))
    {
        call.withdrawn = allocation;
        call.has_withdrawn = 1;
    }
    Ok(())
}

/// Bytes asked for, and the pointer argument if there is one.
fn request(registers: &pt_regs, cookie: Cookie) -> (u64, u64) {
    let (first, second, third) = (registers.rdi, registers.rsi, registers.rdx);
    match cookie.meaning {
        m if m == Meaning::AllocateArray as u8 => (product(first, second), 0),
        m if m == Meaning::AllocateAligned as u8 => (second, 0),
        m if m == Meaning::AllocateInto as u8 => (third, first),
        m if m == Meaning::Reallocate as u8 => (second, first),
        m if m == Meaning::ReallocateArray as u8 => (product(second, third), first),
        _ => (first, 0),
    }
}

/// Bytes of an array. What overflows is refused; it must only not look like a request for nothing.
fn product(count: u64, size: u64) -> u64 {
    match count.wrapping_mul(size) {
        0 if count != 0 && size != 0 => u64::MAX,
        bytes => bytes,
    }
}

fn reallocates(cookie: Cookie) -> bool {
    cookie.meaning == Meaning::Reallocate as u8 || cookie.meaning == Meaning::ReallocateArray as u8
}

/// Records what the function returned.
fn complete(registers: &pt_regs, process: &Process, cookie: Cookie) -> Result<(), Loss> {
    let thread = threads::current_if_known().ok_or(Loss::ReturnWithoutCall)?;
    if thread.calls.process != u64::from(cookie.process) {
        // Older kernels, 6.1 for one, also run the return probes that other processes have there.
        return Ok(());
    }
    if !thread.calls.pop(registers.rsp, cookie.function) {
        return Err(Loss::ReturnWithoutCall);
    }
    let call = &thread.calls.returned;
    if call.nested != 0 {
        ledger::count_nested(cookie.process);
        return Ok(());
    }
    let address = result(registers, call, cookie)?;
    if reallocates(cookie) && call.pointer != 0 {
        settle_old(call, address, cookie);
        if address == 0 && call.size == 0 {
            return Ok(());
        }
    }
    if address == 0 {
        ledger::count_failure(cookie.process);
        return Ok(());
    }
    let size = call.size;
    let Some(Weight { bytes, objects }) = weigh(size) else {
        ledger::count_unsampled(cookie.process);
        return Ok(());
    };
    let stack = walk::record_call(thread, process, cookie.process, registers.rbp);
    let allocation = Allocation { stack, size, bytes, objects };
    ledger::record(&place(address, cookie), &allocation)
}

/// The address that the function returned; 0 if it failed.
fn result(registers: &pt_regs, call: &Call, cookie: Cookie) -> Result<u64, Loss> {
    if cookie.meaning != Meaning::AllocateInto as u8 {
        return Ok(registers.rax);
    }
    if registers.rax as u32 != 0 {
        return Ok(0);
    }
    memory::read(call.pointer).ok_or(Loss::ResultUnreadable)
}

/// The old block of a `realloc` is gone, unless the call failed.
fn settle_old(call: &Call, address: u64, cookie: Cookie) {
    let failed = address == 0 && call.size != 0;
    match (call.has_withdrawn != 0, failed) {
        (true, true) => ledger::restore(place(call.pointer, cookie), &call.withdrawn),
        (true, false) => ledger::subtract(place(call.pointer, cookie), &call.withdrawn),
        (false, false) => ledger::count_unknown_release(cookie.process),
        (false, true) => {}
    }
}

fn weigh(size: u64) -> Option<Weight> {
    let interval = SAMPLE_INTERVAL.get(0).copied().unwrap_or_default();
    if interval == 0 {
        return sampling::weigh(size, 0, 0);
    }
    // SAFETY: the helper has no preconditions.
    let random = unsafe { bpf_get_prandom_u32() };
    sampling::weigh(size, interval, random)
}
