//! Stacks, stored as chains of chunks that are named by a hash of their frames and their callers.
//! A stack that was seen before costs one look-up and no copy.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_NO_PREALLOC},
    helpers::bpf_loop,
    macros::map,
    maps::HashMap,
};
use memtrace_abi::{
    allocation::StackChunk,
    frame::{CHUNK_FRAMES, MAX_FRAMES},
    loss::Loss,
};

use crate::{hash, losses, verifier::within};

/// Chunks of stacks by hash.
#[map]
static STACKS: HashMap<u64, StackChunk> = HashMap::with_max_entries(1 << 17, BPF_F_NO_PREALLOC);

/// A power of two.
pub(crate) const MAX_CHUNKS: usize = MAX_FRAMES as usize / CHUNK_FRAMES;

/// The frames of a walk, innermost first, laid out as they are stored.
#[repr(C)]
pub(crate) struct Chunks(pub(crate) [StackChunk; MAX_CHUNKS]);

/// What `bpf_loop` passes to each turn. The verifier wants it on the program's stack.
struct Storing {
    chunks: *mut Chunks,
    count: u64,
    /// Hash of the chunk stored last; in the end the stack's id.
    callers: u64,
    stored: u64,
    /// 1: there was no room.
    full: u64,
}

/// Stores the first `count` frames and returns the stack's id; 0 if there was no room. Not inlined:
/// the program's stack is small.
#[inline(never)]
pub(crate) fn store(chunks: &mut Chunks, count: u64) -> u64 {
    let mut storing = Storing { chunks: &raw mut *chunks, count, callers: 0, stored: 1, full: 0 };
    let turns = count.div_ceil(CHUNK_FRAMES as u64) as u32;
    // SAFETY: `turn` has the signature that `bpf_loop` calls; `storing` outlives the call.
    unsafe { bpf_loop(turns, turn as *mut c_void, (&raw mut storing).cast(), 0) };
    if storing.stored == 0 {
        if storing.full != 0 {
            losses::count(Loss::StacksFull);
        }
        return 0;
    }
    storing.callers
}

/// Stores one chunk, outermost first; returns 1 to stop.
extern "C" fn turn(index: u64, storing: *mut Storing) -> i64 {
    // SAFETY: `bpf_loop` hands back the pointer it was given.
    let storing = unsafe { &mut *storing };
    i64::from(store_chunk(index, storing).is_none())
}

fn store_chunk(index: u64, storing: &mut Storing) -> Option<()> {
    let last = storing.count.div_ceil(CHUNK_FRAMES as u64).checked_sub(1)?;
    let number = last.checked_sub(index)? as usize;
    // SAFETY: the thread's own scratch; nobody else uses it.
    let chunks = unsafe { &mut *storing.chunks };
    let chunk = &mut chunks.0[within::<MAX_CHUNKS>(number)];
    chunk.callers = storing.callers;
    let hash = id(chunk);
    // SAFETY: entries are never removed.
    if unsafe { STACKS.get(hash) }.is_none() {
        let outcome = STACKS.insert(hash, chunk, u64::from(BPF_ANY));
        if outcome.is_err() {
            storing.stored = 0;
            storing.full = u64::from(losses::is_full(outcome));
            return None;
        }
    }
    storing.callers = hash;
    Some(())
}

fn id(chunk: &StackChunk) -> u64 {
    // 0 means "no stack".
    let frames = chunk.frames.iter().copied();
    frames.fold(hash::mix(1, chunk.callers), hash::mix) | 1 << 63
}
