//! What is kept for each thread: allocator calls in progress and the scratch of its stack walk.
//!
//! Uprobes can be preempted, so per-CPU scratch could be overwritten half-way by another thread.
//! A thread's own entry cannot: a program never interrupts a program of the same thread.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::bpf_get_current_pid_tgid,
    macros::map,
    maps::{Array, HashMap},
};
use memtrace_abi::{loss::Loss, pages::Event};

use crate::{calls::Calls, losses, mappings::Change, repeat::Memories, walk::Walk};

/// The scratch of one thread.
#[repr(C)]
pub(crate) struct Thread {
    pub(crate) calls: Calls,
    pub(crate) walk: Walk,
    pub(crate) memories: Memories,
    /// Of the system call that the thread comes back from.
    pub(crate) change: Change,
    /// What the loader is told of it.
    pub(crate) event: Event,
}

/// Threads by thread id; an entry lives as long as its thread.
#[map]
static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(1 << 16, BPF_F_NO_PREALLOC);
/// All zeros, to start an entry from: a `Thread` does not fit on the program's stack.
#[map]
static NEW_THREAD: Array<Thread> = Array::with_max_entries(1, 0);

fn id() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// The current thread's entry, made on first use.
pub(crate) fn current() -> Result<&'static mut Thread, Loss> {
    let id = id();
    if let Some(thread) = find(id) {
        return Ok(thread);
    }
    let new = NEW_THREAD.get(0).ok_or(Loss::ThreadsFull)?;
    // Whether it was made is seen by the look-up.
    let _ = THREADS.insert(id, new, u64::from(BPF_NOEXIST));
    find(id).ok_or(Loss::ThreadsFull)
}

/// The current thread's entry, if it has one.
pub(crate) fn current_if_known() -> Option<&'static mut Thread> {
    find(id())
}

fn find(id: u32) -> Option<&'static mut Thread> {
    // SAFETY: only the thread itself uses and removes its entry.
    THREADS.get_ptr_mut(id).map(|thread| unsafe { &mut *thread })
}

/// Forgets the current thread, which ends or loses its address space.
pub(crate) fn forget_current() {
    if let Some(thread) = current_if_known()
        && thread.calls.are_pending()
    {
        losses::count(Loss::CallWithoutReturn);
    }
    // Most threads were never seen.
    let _ = THREADS.remove(id());
}
