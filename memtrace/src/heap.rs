//! The heap of a process that uses glibc's malloc, 2.28 to 2.43 on x86-64: every chunk and its
//! state, read without stopping the process and without help from it.
//!
//! # Use
//!
//! ```no_run
//! # use std::time::Duration;
//! # use memtrace::{heap::{Chunk, Heap, State}, process::Process};
//! # fn main() -> anyhow::Result<()> {
//! let process = Process::open(4242)?;
//! let heap = Heap::of_process(&process, &process.mappings()?, Duration::from_secs(2))?;
//! let live = heap.chunks().filter(|chunk| chunk.state == State::Live);
//! let largest = live.max_by_key(|chunk| chunk.size);
//! // Who keeps free memory resident: called for each page and chunk with its share of the page.
//! let mut pinned = 0;
//! let accounts = heap.accounts(&mut |_chunk: &Chunk, bytes: u64| pinned += bytes);
//! assert_eq!(pinned, accounts.total.pinned);
//! let given_back_by_malloc_trim = accounts.total.trimmable;
//! # Ok(())
//! # }
//! ```
//!
//! [`Heap::of_process`] fails with a [`Refusal`] where there is no such heap, and says why. What is
//! read is bounded by time and by amount; what is missing or may be wrong is in [`Heap::doubts`],
//! what could not be walked is [`State::Unknown`]. [`Heap::accounts`] tells for each arena and in
//! sum what is live, free and resident, and why ([`Account`]); [`Advice::on`] what could be done,
//! with numbers. [`Heap::chunks`] are those of the arenas, [`Heap::mapped`] the ones with mappings
//! of their own.
//!
//! # What is exact
//!
//! For a process that stands still: every chunk; sums equal to `mallinfo2`, which counts chunks in
//! the caches of threads as in use; and [`trimmable`], page by page. A thread's cache that is empty
//! cannot be told from a live chunk of its size, and counts as live.
//! For a process that runs, each stretch of memory is as it was at one moment at which no thread was
//! changing it; what could not be seen so is unknown. A block that stays while the heap is read is
//! never taken for anything else. Chunks that were allocated or freed meanwhile may be missed.
//!
//! # Layers
//!
//! `layout` finds the allocator in the file, `parameters` and `arena` read its variables,
//! `scattered` finds memory that `brk` did not give, `walk` the chunks (`step` tells one, `anchors` where to begin again), `lists` the free chunks that look
//! live, `mapped` those with mappings of their own; `read` does it all. These are pure over
//! [`Memory`]; `live` is the memory of a process. `account`, `strip`, `trim` and `advice` are pure
//! over what was read.

mod account;
mod advice;
mod anchors;
mod arena;
mod chunk;
mod copy;
mod doubt;
mod layout;
mod listed;
mod lists;
mod live;
mod mapped;
mod memory;
mod parameters;
mod read;
mod refusal;
mod resident;
mod scattered;
mod step;
mod strip;
#[cfg(test)]
mod tests;
mod trim;
mod walk;
mod window;

pub use account::{Account, Accounts, Charge, PageUse, Reason};
pub use advice::{Advice, Basis, Remedy};
pub use chunk::{ALIGNMENT, Chunk, Chunks, HEADER, MIN_SIZE, State, size_for};
pub(crate) use chunk::{MAPPED, PREVIOUS_IN_USE, SIZE, size_of};
pub(crate) use copy::Copy;
pub use doubt::Doubt;
pub use layout::{Layout, Version};
pub use live::is_c_library;
pub use memory::{Extent, Memory, PAGE};
pub use parameters::Parameters;
pub use read::{Arena, Heap, Mapped, Part};
pub use refusal::Refusal;
pub use strip::{COLUMNS, Column, Strip, Use};
pub use trim::trimmable;
pub use window::Window;
