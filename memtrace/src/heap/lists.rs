//! Free chunks that look like live ones to their neighbours: those in the fastbins of an arena and
//! in the caches of threads (`tcache_perthread_struct`, malloc/malloc.c).
//!
//! No symbol leads to a thread's cache, but every cache is itself a live chunk of a certain size in
//! some arena, and its contents give it away: lists of chunks of the right sizes, of the counted
//! lengths, each chunk with the mark that freeing put on it.

use std::{cell::Cell, collections::HashMap};

use super::{
    Layout, Parameters,
    arena::Descriptor,
    chunk::{ALIGNMENT, Chunk, HEADER, MIN_SIZE, SIZE, State, size_of},
    copy::{Copy, LEAST},
    listed::Listed,
    memory::{Memory, read_words},
};

/// Looks at a cache that contradicts itself: its thread may be using it.
const MAX_LOOKS: usize = 4;
/// Chunks that may be caches, of which each thread has one.
pub(super) const MAX_CANDIDATES: usize = 1 << 16;
/// Chunks that lists lead to, in all looks together.
const MAX_STEPS: u64 = 16 << 20;
/// Bytes that are kept of memory that nothing changes: long lists lead through all of a heap.
const KEPT_AT_REST: u64 = 64 << 20;
/// Bins of chunks of one size each, from 32 bytes on in steps of 16.
const SMALL_BINS: u64 = 64;

/// Follows free lists.
pub(super) struct Lists<'a, M> {
    memory: &'a M,
    layout: &'a Layout,
    parameters: &'a Parameters,
    /// Chunks that may still be followed to.
    steps: Cell<u64>,
}

/// `tcache_perthread_struct`: a count for each bin, then the head of each bin.
#[derive(Clone, Copy)]
struct Cache {
    /// Bytes of one count.
    count: u64,
    bins: u64,
    /// Whether free places are counted instead of chunks.
    inverted: bool,
    /// Whether freed chunks carry a mark.
    marked: bool,
}

impl Cache {
    const fn of(layout: &Layout) -> Self {
        let minor = layout.version.minor;
        Self {
            count: if minor < 30 { 1 } else { 2 },
            bins: if minor < 42 { SMALL_BINS } else { SMALL_BINS + 12 },
            inverted: minor >= 42,
            marked: minor >= 29,
        }
    }

    const fn size(self) -> u64 {
        self.bins * (self.count + SIZE)
    }
}

/// What an arena's fastbins held, and whether they could be followed to their ends.
#[derive(Default, PartialEq)]
struct Fast {
    is_whole: bool,
    chunks: Listed,
}

/// What a cache held: whether it is one beyond doubt, and its chunks.
#[derive(PartialEq)]
struct Contents {
    is_consistent: bool,
    mark: Option<u64>,
    chunks: Vec<(u64, u64)>,
}

impl Contents {
    /// Whether a chunk carries the same mark as those before it.
    fn has_mark(&mut self, marked: bool, mark: u64) -> bool {
        !marked || *self.mark.get_or_insert(mark) == mark
    }

    /// Marks tell what is in a cache that its thread uses meanwhile; without them, nothing does.
    fn told(self) -> Option<Self> {
        (self.is_consistent || self.mark.is_some()).then_some(self)
    }
}

impl<'a, M: Memory> Lists<'a, M> {
    pub(super) const fn new(memory: &'a M, layout: &'a Layout, parameters: &'a Parameters) -> Self {
        Self { memory, layout, parameters, steps: Cell::new(MAX_STEPS) }
    }

    /// Adds the chunks in the fastbins of an arena; `false` if the lists could not be followed to
    /// their ends, or changed meanwhile. Nothing marks these chunks, and one that is handed out may
    /// lead anywhere: only those count that two looks, one after the other, have found.
    pub(super) fn add_fast(&self, arena: u64, listed: &mut Listed) -> bool {
        let (mut now, mut before) = (self.fast(arena), Fast::default());
        for _ in 0..MAX_LOOKS {
            before = std::mem::replace(&mut now, self.fast(arena));
            if now == before {
                break;
            }
        }
        let is_whole = now.is_whole && now == before;
        now.chunks.keep_common(&before.chunks);
        listed.append(&now.chunks);
        is_whole
    }

    /// One look at the fastbins of an arena.
    fn fast(&self, arena: u64) -> Fast {
        let Some(arena) = Descriptor::read(self.memory, self.layout, arena) else {
            return Fast::default();
        };
        let mut fast = Fast { is_whole: true, chunks: Listed::default() };
        let mut copy = Copy::new(self.memory, LEAST);
        let limit = arena.system / MIN_SIZE;
        for (size, head) in (MIN_SIZE..).step_by(ALIGNMENT as usize).zip(&arena.fast) {
            let (mut address, mut left) = (*head, limit);
            while address != 0 {
                let chunk = Chunk { address, size, state: State::Fast };
                let next = self.next_fast(&mut copy, &chunk).filter(|_| left > 0);
                fast.is_whole &= next.is_some() && fast.chunks.add(&chunk);
                address = next.filter(|_| fast.is_whole).unwrap_or_default();
                left -= 1;
            }
        }
        fast.chunks.sort();
        fast
    }

    /// The chunk behind one in a fastbin of a size; 0 at the end.
    fn next_fast(&self, copy: &mut Copy<'_, M>, chunk: &Chunk) -> Option<u64> {
        let memory = chunk.address.checked_add(HEADER)?;
        self.link(copy, memory, |found| found == chunk.size).map(|(next, _)| next)
    }

    /// What the free chunk's memory links to, and the chunk's size, if that is one that `fits`.
    fn link(
        &self,
        copy: &mut Copy<'_, M>,
        memory: u64,
        fits: impl FnOnce(u64) -> bool,
    ) -> Option<(u64, u64)> {
        self.steps.set(self.steps.get().checked_sub(1)?);
        if memory < HEADER || !memory.is_multiple_of(ALIGNMENT) {
            return None;
        }
        let size = size_of(copy.word(memory - SIZE)?);
        let link = copy.word(memory)?;
        let next = if self.layout.hides_links() { link ^ memory >> 12 } else { link };
        fits(size).then_some((next, size))
    }

    /// Whether a live chunk of this size may be a thread's cache.
    pub(super) fn may_be_cache(&self, size: u64) -> bool {
        let own = (Cache::of(self.layout).size() + SIZE).next_multiple_of(ALIGNMENT);
        // 2.43 asks for a chunk's size instead of a request's. What is left of a chunk that is cut is
        // at least 32 bytes, else it stays with it.
        (own..=own + 2 * ALIGNMENT).contains(&size)
    }

    /// Adds the chunks in the caches among the candidates, and the caches themselves as the
    /// allocator's own. Returns how many were in use while they were read.
    pub(super) fn add_caches(&self, candidates: &[(u64, u64)], listed: &mut Listed) -> usize {
        let found = self.caches(candidates);
        let common = common(found.iter().filter_map(|(.., contents)| contents.mark));
        let mut busy = 0;
        for (chunk, size, contents) in found {
            if contents.mark != self.expected_mark(chunk + HEADER, common) {
                continue;
            }
            busy += usize::from(!contents.is_consistent);
            listed.add(&Chunk { address: chunk, size, state: State::Own });
            for (address, size) in contents.chunks {
                listed.add(&Chunk { address, size, state: State::Cached });
            }
        }
        busy + usize::from(self.steps.get() == 0)
    }

    /// The caches among the candidates, which are chunks with sizes. While nothing seems to change
    /// them, one look at each will do.
    fn caches(&self, candidates: &[(u64, u64)]) -> Vec<(u64, u64, Contents)> {
        let rest = self.memory.rest();
        if rest.is_some() {
            let mut copy = Copy::new(self.memory, LEAST).keeping(KEPT_AT_REST);
            let found = all(candidates, |cache| self.look(&mut copy, cache)?.told());
            if self.memory.rest() == rest {
                return found;
            }
        }
        all(candidates, |cache| self.cache(cache))
    }

    /// From 2.29 on the cache's own address, from 2.34 on a random number for all threads.
    fn expected_mark(&self, cache: u64, common: Option<u64>) -> Option<u64> {
        match self.layout.version.minor {
            ..29 => None,
            29..34 => Some(cache),
            _ => common,
        }
    }

    /// What is in the cache at an address, unless none is there or it is empty: what two looks, one
    /// after the other, have found.
    fn cache(&self, address: u64) -> Option<Contents> {
        let look = || self.look(&mut Copy::new(self.memory, LEAST), address);
        let mut last = look()?;
        for _ in 0..MAX_LOOKS {
            let now = look()?;
            if now.is_consistent && now == last {
                return Some(now);
            }
            last = now;
        }
        last.is_consistent = false;
        last.told()
    }

    /// One look at what may be a cache. `None`: it is none.
    fn look(&self, copy: &mut Copy<'_, M>, address: u64) -> Option<Contents> {
        let cache = Cache::of(self.layout);
        let words = read_words(self.memory, address, cache.size() as usize / 8)?;
        let (counts, heads) = words.split_at((cache.bins * cache.count / 8) as usize);
        if heads.iter().all(|head| *head == 0)
            || heads.iter().any(|head| !head.is_multiple_of(ALIGNMENT))
        {
            return None;
        }
        let mut contents = Contents { is_consistent: true, mark: None, chunks: Vec::new() };
        for (bin, head) in (0..).zip(heads) {
            let count = self.count(cache, counts, bin)?;
            if (count == 0) != (*head == 0) {
                contents.is_consistent = false;
                continue;
            }
            self.follow(copy, bin, (*head, count), &mut contents)?;
        }
        Some(contents)
    }

    fn count(&self, cache: Cache, counts: &[u64], bin: u64) -> Option<u64> {
        let (bits, each) = (8 * cache.count, 8 / cache.count);
        let word = counts.get((bin / each) as usize)? >> (bin % each * bits);
        let count = word & ((1 << bits) - 1);
        if cache.inverted { self.parameters.cache_count.checked_sub(count) } else { Some(count) }
    }

    /// Adds the chunks of a list. `None` if the chunks contradict that this is a cache.
    fn follow(
        &self,
        copy: &mut Copy<'_, M>,
        bin: u64,
        (head, count): (u64, u64),
        contents: &mut Contents,
    ) -> Option<()> {
        let marked = Cache::of(self.layout).marked;
        let mut memory = head;
        for index in 0..count {
            let fits = |size| bin_of(size) == Some(bin);
            let Some((next, size)) = self.link(copy, memory, fits) else {
                contents.is_consistent = false;
                // The first of a list is what its thread changes last.
                return (index > 0).then_some(());
            };
            if !contents.has_mark(marked, copy.word(memory + SIZE)?) {
                contents.is_consistent = false;
                return Some(());
            }
            contents.chunks.push((memory - HEADER, size));
            memory = next;
        }
        contents.is_consistent &= memory == 0;
        Some(())
    }
}

/// What is found at the candidates' memory.
fn all(
    candidates: &[(u64, u64)],
    mut find: impl FnMut(u64) -> Option<Contents>,
) -> Vec<(u64, u64, Contents)> {
    let found = candidates.iter().map(|(chunk, size)| Some((*chunk, *size, find(chunk + HEADER)?)));
    found.flatten().collect()
}

/// The bin of a cache that holds chunks of a size.
fn bin_of(size: u64) -> Option<u64> {
    let index = size.checked_sub(MIN_SIZE)? / ALIGNMENT;
    if index < SMALL_BINS {
        return (size.is_multiple_of(ALIGNMENT)).then_some(index);
    }
    // `large_csize2tidx`: one bin for each power of two, up to 4 MiB.
    let size = u32::try_from(size).ok()?;
    Some(SMALL_BINS + u64::from(1040_u32.leading_zeros() - size.leading_zeros()))
}

/// What occurs most often.
fn common(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut counts = HashMap::new();
    for value in values {
        *counts.entry(value).or_insert(0_usize) += 1;
    }
    counts.into_iter().max_by_key(|(value, count)| (*count, *value)).map(|(value, _)| value)
}
