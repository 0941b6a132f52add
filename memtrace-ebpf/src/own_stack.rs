//! Keeps programs of uprobes on the stack of their thread.
//!
//! Since Linux 6.13 the kernel gives a program whose type cannot run twice at once on a CPU a stack of that
//! CPU (`bpf_enable_priv_stack` in kernel/bpf/verifier.c). It counts programs of uprobes among them, but a thread can be preempted inside one, and the next
//! thread on the CPU would then run on the same stack. A program that may end in another one is never given
//! such a stack.

use aya_ebpf::{EbpfContext, macros::map, maps::ProgramArray};

/// Stays empty.
#[map]
static NO_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// To be a part of the program itself, wherever it costs nothing: that it is there is enough.
#[expect(clippy::inline_always, reason = "functions that may end in a program have half the stack")]
#[inline(always)]
pub(crate) fn keep(ctx: &impl EbpfContext) {
    // SAFETY: there is no program to go to, so the call comes back and has done nothing.
    unsafe { NO_PROGRAMS.tail_call(ctx, 0) };
}
