//! What the kernel programs tell of another process's threads: the registers of all, and a copy of
//! the stack of one that was on a CPU.

use crate::{crosses_the_boundary, python::Python, unwind::Registers};

/// Bytes of native stack that are copied from a running thread.
pub const MAX_STACK: usize = 128 << 10;
/// They are copied in pieces of this size, which never cross a page.
pub const STACK_PIECE: usize = 1 << 10;
/// Python frames that are copied from a running thread.
pub const MAX_PYTHON_FRAMES: usize = 512;
/// Words of a Python frame that there is room for.
pub const FRAME_WORDS: usize = 16;

/// Whose threads are looked at, and how.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Subject {
    /// Process id in the initial namespace.
    pub process: u64,
    /// Where the kernel keeps what it knows of a thread.
    pub fields: Fields,
    /// The process's interpreter; all zero if there is none.
    pub python: Python,
}
crosses_the_boundary!(Subject, 192);

/// Offsets in the kernel's `task_struct`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fields {
    /// `tgid`: the process id.
    pub process: u64,
    /// `pid`: the thread id.
    pub thread: u64,
    /// `on_cpu`: whether it runs.
    pub on_cpu: u64,
    /// `nvcsw`: how often it gave up its CPU.
    pub voluntary: u64,
    /// `nivcsw`: how often its CPU was taken from it.
    pub involuntary: u64,
    /// `thread.fsbase`: the thread pointer.
    pub thread_pointer: u64,
}

/// A thread at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    /// Thread id in the initial namespace.
    pub thread: u32,
    /// 1: it runs, so the registers are those of an earlier moment.
    pub on_cpu: u32,
    /// In user space, as the thread left it.
    pub registers: Registers,
    /// `rdi`: the first argument of a system call that the thread is in.
    pub rdi: u64,
    /// Where glibc keeps the thread's own data.
    pub thread_pointer: u64,
    /// How often it has left a CPU. Two looks between which this stays the same, at both of which
    /// the thread is on no CPU, have no moment between them at which it ran.
    pub switches: u64,
}
crosses_the_boundary!(Standing, 56);

impl Standing {
    /// Whether the thread did not run from one look to the other.
    #[must_use]
    pub fn held_until(&self, later: &Self) -> bool {
        self.on_cpu == 0 && later.on_cpu == 0 && self == later
    }
}

/// A Python frame as it was in memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameCopy {
    /// Where it was.
    pub address: u64,
    /// Its first words; how many depends on the version.
    pub words: [u64; FRAME_WORDS],
}

/// A running thread's stack, copied at one moment.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The thread, with the registers of this moment.
    pub standing: Standing,
    /// How long the thread was interrupted for the copy.
    pub nanoseconds: u64,
    /// Address of the first byte of `stack`.
    pub stack_start: u64,
    /// Bytes in `stack`.
    pub stack_size: u64,
    /// The thread state, or 0.
    pub thread_state: u64,
    /// Entries in `frames`.
    pub frame_count: u64,
    /// Python frames, innermost first.
    pub frames: [FrameCopy; MAX_PYTHON_FRAMES],
    /// Native stack.
    pub stack: [u8; MAX_STACK],
}
crosses_the_boundary!(Sample, 96 + 136 * MAX_PYTHON_FRAMES + MAX_STACK);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ran_in_between_did_not_hold() {
        let before = Standing { thread: 7, switches: 3, ..Standing::default() };
        assert!(before.held_until(&before));
        assert!(!before.held_until(&Standing { switches: 4, ..before }));
        assert!(!before.held_until(&Standing { on_cpu: 1, ..before }));
        let running = Standing { on_cpu: 1, ..before };
        assert!(!running.held_until(&running));
    }
}
