//! Allocator calls of one thread that have not returned: a small stack of them.
//!
//! Calls nest: `calloc` may call `malloc`, and a signal handler may allocate in the middle of an
//! allocation. The first is the allocator's own business, the second is an allocation.

use memtrace_abi::{allocation::Allocation, loss::Loss, process::Process};

use crate::{losses, memory, native, verifier::within};

/// Calls in progress that are remembered.
const MAX_CALLS: usize = 4;
/// A call by an allocator to itself happens within this many bytes of stack; a signal frame alone
/// is larger.
const NESTING_DISTANCE: u64 = 1024;

/// A call in progress.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Stack pointer on entry: the address of the return address.
    pub(crate) sp: u64,
    /// The true return address; ours is on the stack while the call runs.
    pub(crate) return_address: u64,
    /// Address of the probe.
    pub(crate) pc: u64,
    /// Bytes asked for.
    pub(crate) size: u64,
    /// `realloc`: the old address. `posix_memalign`: where the result is written.
    pub(crate) pointer: u64,
    /// `realloc`: the old allocation, withdrawn for the time of the call.
    pub(crate) withdrawn: Allocation,
    /// 1 if `withdrawn` is set.
    pub(crate) has_withdrawn: u32,
    /// See [`memtrace_abi::probe::Cookie::function`].
    pub(crate) function: u16,
    /// 1: made by the allocator itself; not counted.
    pub(crate) nested: u16,
}

/// A thread's calls in progress, outermost first.
#[repr(C)]
pub(crate) struct Calls {
    /// The slot that the latest call was made in.
    pub(crate) process: u64,
    depth: u64,
    stack: [Call; MAX_CALLS],
    /// The call that [`Calls::pop`] took last. Kept here because it would fill the program's stack.
    pub(crate) returned: Call,
}

impl Calls {
    /// Whether a call has not returned.
    pub(crate) fn are_pending(&self) -> bool {
        self.depth > 0
    }

    /// Remembers a call; says whether it is the allocator's own business.
    pub(crate) fn push(&mut self, mut call: Call, process: &Process) -> &mut Call {
        if let Some(outer) = self.top().copied() {
            self.relate(&mut call, outer, process);
        }
        if self.depth as usize >= MAX_CALLS {
            // The outermost is the oldest: the likeliest to be stale.
            losses::count(Loss::CallsTooDeep);
            self.stack.copy_within(1.., 0);
            self.depth = MAX_CALLS as u64 - 1;
        }
        let slot = within::<MAX_CALLS>(self.depth as usize);
        self.depth = slot as u64 + 1;
        let place = &mut self.stack[slot];
        *place = call;
        place
    }

    /// Completes a call from the one it was made within.
    fn relate(&mut self, call: &mut Call, outer: Call, process: &Process) {
        if call.sp == outer.sp {
            let tail_call = call.return_address != outer.return_address
                && native::find_mapping(process, self.process as u32, call.return_address)
                    .is_none();
            if tail_call {
                call.return_address = outer.return_address;
                call.nested = 1;
            } else {
                losses::count(Loss::CallWithoutReturn);
                self.depth -= 1;
            }
            return;
        }
        let near = call.sp < outer.sp && outer.sp - call.sp < NESTING_DISTANCE;
        if near && is_made_within(process, self.process as u32, call, &outer) {
            call.nested = 1;
        }
    }

    fn top(&self) -> Option<&Call> {
        if self.depth == 0 {
            return None;
        }
        Some(&self.stack[within::<MAX_CALLS>((self.depth - 1) as usize)])
    }

    /// Moves the call that returns with the stack pointer at `sp` to `returned`; whether there is
    /// one. Calls within it that were never seen to return are dropped.
    pub(crate) fn pop(&mut self, sp: u64, function: u16) -> bool {
        for _ in 0..MAX_CALLS {
            let Some(call) = self.top() else { return false };
            let matches = call.sp + 8 == sp && call.function == function;
            if !matches && call.sp + 8 > sp {
                // A call further out than the one that returns: on another stack, or not seen.
                return false;
            }
            if matches {
                self.returned = *call;
                self.depth -= 1;
                return true;
            }
            self.depth -= 1;
            losses::count(Loss::CallWithoutReturn);
        }
        false
    }

    /// Whether a call in progress replaces the block at this address.
    pub(crate) fn replace(&self, address: u64) -> bool {
        self.pending().any(|call| call.pointer == address)
    }

    /// The true return address, if the one at `slot` was replaced by a return probe.
    pub(crate) fn replaced_return_address(&self, slot: u64) -> Option<u64> {
        let here = self.pending().filter(|call| call.sp == slot);
        here.map(|call| call.return_address).last()
    }

    fn pending(&self) -> impl Iterator<Item = &Call> {
        let numbered = self.stack.iter().enumerate();
        numbered.take_while(|(i, _)| (*i as u64) < self.depth).map(|(_, call)| call)
    }
}

/// Whether a call comes from the code of the allocator that is called, or of the one that has not
/// returned, which may have its memory from another.
fn is_made_within(process: &Process, slot: u32, call: &Call, outer: &Call) -> bool {
    let object = |pc| native::find_mapping(process, slot, pc).map(|mapping| mapping.object);
    match object(call.return_address) {
        Some(caller) => [call.pc, outer.pc].into_iter().any(|pc| object(pc) == Some(caller)),
        // Of a program that has just begun nothing is known yet.
        None => process.mappings == 0,
    }
}

/// The return address of a function that was just entered.
pub(crate) fn return_address(sp: u64) -> Option<u64> {
    memory::read(sp)
}
