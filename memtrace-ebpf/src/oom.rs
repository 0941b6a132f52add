//! Kills, by the kernel for want of memory and by other processes. A victim that is traced is
//! frozen: it runs no more code of its own, so what is known of it stays as it is until the loader
//! has written it down.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_probe_read_kernel,
        generated::bpf_ktime_get_boot_ns,
    },
    macros::{map, raw_tracepoint},
    maps::{Array, RingBuf},
    programs::RawTracePointContext,
};
use memtrace_abi::{
    kill::{COMM, Kill, Memory, NO_SLOT, VictimFields, cause},
    loss::Loss,
};

use crate::{losses, processes};

/// Kills, for the loader. Nothing else goes through here, so that nothing else can displace them.
#[map]
static KILLS: RingBuf = RingBuf::with_byte_size(1 << 16, 0);
/// One entry, from BTF.
#[map]
static VICTIM_FIELDS: Array<VictimFields> = Array::with_max_entries(1, 0);

const SIGKILL: u64 = 9;
/// Senders below this are no `siginfo`: 1 is the kernel itself (`SEND_SIG_PRIV`,
/// include/linux/sched/signal.h).
const SEND_SIG_PRIV: u64 = 1;
/// Addresses of the kernel are above this, process ids below.
const KERNEL_SPACE: u64 = 1 << 63;

/// Old kernels pass the victim's id, newer ones the victim (Linux 6.9).
#[raw_tracepoint(tracepoint = "mark_victim")]
fn oom_victim(ctx: RawTracePointContext) -> i32 {
    let victim = argument(&ctx, 0);
    if victim < KERNEL_SPACE {
        tell(cause::OUT_OF_MEMORY, 0, victim as u32);
    } else if let Some(process) = process_id(victim) {
        tell(cause::OUT_OF_MEMORY, victim, process);
    } else {
        losses::count(Loss::KillUnreadable);
    }
    0
}

/// The kernel's own kills are told by `oom_victim`.
#[raw_tracepoint(tracepoint = "signal_generate")]
fn kill_signal(ctx: RawTracePointContext) -> i32 {
    if argument(&ctx, 0) as u32 != SIGKILL as u32 || argument(&ctx, 1) == SEND_SIG_PRIV {
        return 0;
    }
    let victim = argument(&ctx, 2);
    if let Some(process) = process_id(victim)
        && processes::slot(process).is_some()
    {
        tell(cause::SIGNAL, victim, process);
    }
    0
}

/// Freezes the victim and sends a [`Kill`]. `thread` is one of the process's, or 0.
fn tell(cause: u32, thread: u64, process: u32) {
    let slot = processes::slot(process).unwrap_or(NO_SLOT);
    // Two signals are one kill.
    if slot != NO_SLOT && !processes::freeze(slot) {
        return;
    }
    let Some(mut entry) = KILLS.reserve::<Kill>(0) else { return losses::count(Loss::KillsFull) };
    let mut kill = Kill {
        cause,
        pid: process,
        slot,
        by: (bpf_get_current_pid_tgid() >> 32) as u32,
        // SAFETY: the helper has no preconditions.
        at: unsafe { bpf_ktime_get_boot_ns() },
        memory: Memory::default(),
        is_known: 0,
        oom_score_adj: 0,
        comm: [0; COMM],
        by_comm: bpf_get_current_comm().unwrap_or_default(),
    };
    if thread != 0 {
        kill.is_known = u32::from(describe(thread, &mut kill).is_some());
    }
    entry.write(kill);
    entry.submit(0);
}

fn describe(thread: u64, kill: &mut Kill) -> Option<()> {
    let fields = VICTIM_FIELDS.get(0)?;
    kill.comm = read(thread + fields.comm)?;
    let signal: u64 = read(thread + fields.signal)?;
    kill.oom_score_adj = i32::from(read::<i16>(signal + fields.oom_score_adj)?);
    let memory = match read(thread + fields.memory)? {
        // The thread has given it back already, but the OOM killer holds it.
        0_u64 => read(signal + fields.oom_memory)?,
        memory => memory,
    };
    let counter = |index| read::<i64>(memory + fields.counters + index * fields.counter_size);
    kill.memory = Memory {
        total: read(memory + fields.total)?,
        file: pages(counter(0)?),
        anonymous: pages(counter(1)?),
        shared: pages(counter(3)?),
        page_tables: read(memory + fields.page_tables)?,
    };
    Some(())
}

/// The kernel counts in batches and may be below zero.
fn pages(count: i64) -> u64 {
    if count < 0 { 0 } else { count.cast_unsigned() }
}

fn process_id(thread: u64) -> Option<u32> {
    read(thread + VICTIM_FIELDS.get(0)?.process)
}

fn argument(ctx: &RawTracePointContext, index: usize) -> u64 {
    let arguments = ctx.as_ptr().cast::<u64>();
    // SAFETY: both tracepoints have at least as many arguments as are asked for.
    let argument = unsafe { arguments.add(index) };
    // SAFETY: the same.
    unsafe { *argument }
}

/// A field of a kernel structure.
fn read<T>(address: u64) -> Option<T> {
    // SAFETY: the helper fails on an address it cannot read.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
