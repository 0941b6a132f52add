//! Where the memory of a heap is: what is live, what is free, and why free memory is still
//! resident. Pure: every number comes from one reading, and they add up.
//!
//! Of each page that is in memory, the free bytes are
//! - *pinned* if a chunk that is not free lies on it too: charged to those chunks in equal shares;
//! - *trimmable* if `malloc_trim(0)` would give the page back;
//! - *kept* otherwise: all of the page is free, yet malloc holds on to it.

use memtrace_abi::mapping::Range;

use super::{
    chunk::{Chunk, State},
    memory::PAGE,
    read::{Arena, Heap, Part, length},
    trim::trimmable,
};

/// Bytes of an arena, or of several. Chunk sizes include headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Address ranges that the allocator uses.
    pub size: u64,
    /// The part of them that is in memory.
    pub resident: u64,
    /// Live chunks.
    pub live: u64,
    /// Their number.
    pub live_chunks: u64,
    /// The part of them that is in memory.
    pub live_resident: u64,
    /// The allocator's own data.
    pub own: u64,
    /// Free chunks in bins.
    pub binned: u64,
    /// Free chunks in fastbins.
    pub fast: u64,
    /// Free chunks in the caches of threads.
    pub cached: u64,
    /// Free chunks at the ends of arenas.
    pub top: u64,
    /// Memory that could not be understood.
    pub unknown: u64,
    /// Free bytes on pages that also hold something that is not free.
    pub pinned: u64,
    /// Free bytes that `malloc_trim(0)` would give back.
    pub trimmable: u64,
    /// Free bytes on free pages that `malloc_trim(0)` would not give back.
    pub kept: u64,
    /// Free bytes that are not in memory: given back already, or never used.
    pub returned: u64,
}

impl Account {
    /// All free chunks.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.binned + self.fast + self.cached + self.top
    }

    /// The part of them that is in memory.
    #[must_use]
    pub const fn free_resident(&self) -> u64 {
        self.pinned + self.trimmable + self.kept
    }

    /// Adds another one's bytes.
    pub const fn add(&mut self, other: &Self) {
        self.size += other.size;
        self.resident += other.resident;
        self.live += other.live;
        self.live_chunks += other.live_chunks;
        self.live_resident += other.live_resident;
        self.own += other.own;
        self.binned += other.binned;
        self.fast += other.fast;
        self.cached += other.cached;
        self.top += other.top;
        self.unknown += other.unknown;
        self.pinned += other.pinned;
        self.trimmable += other.trimmable;
        self.kept += other.kept;
        self.returned += other.returned;
    }

    fn count(&mut self, chunk: &Chunk) {
        self.size += chunk.size;
        let state = match chunk.state {
            State::Live => {
                self.live_chunks += 1;
                &mut self.live
            }
            State::Binned => &mut self.binned,
            State::Fast => &mut self.fast,
            State::Cached => &mut self.cached,
            State::Top => &mut self.top,
            State::Own => &mut self.own,
            State::Unknown => &mut self.unknown,
        };
        *state += chunk.size;
    }
}

/// Why the free bytes of a page are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Something on the page is not free.
    Pinned,
    /// Nothing but that `malloc_trim(0)` was not called.
    Trimmable,
    /// The whole page is free, but `malloc_trim(0)` would not give it back.
    Kept,
    /// They are not in memory.
    Returned,
}

/// A page of an arena, or the arena's part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageUse {
    /// Where the page begins.
    pub address: u64,
    /// Bytes that are not free.
    pub held: u64,
    /// Bytes that are free.
    pub free: u64,
    /// Why.
    pub reason: Reason,
    /// Whether it is in memory.
    pub is_resident: bool,
}

/// Is told where the memory of arenas is, page by page.
pub trait Charge {
    /// Bytes that the chunk pins: its share of the free bytes of one page. Chunks of state
    /// [`State::Own`] and [`State::Unknown`] pin as well.
    fn charge(&mut self, chunk: &Chunk, bytes: u64);

    /// The next page.
    fn page(&mut self, _page: PageUse) {}
}

impl<F: FnMut(&Chunk, u64)> Charge for F {
    fn charge(&mut self, chunk: &Chunk, bytes: u64) {
        self(chunk, bytes);
    }
}

/// Where all memory of a heap is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Of each arena, in the order of [`Heap::arenas`].
    pub arenas: Vec<Account>,
    /// Of the chunks with mappings of their own.
    pub mapped: Account,
    /// The sum.
    pub total: Account,
}

impl Heap {
    /// Accounts for everything, and charges pinned bytes: what is charged adds up to
    /// `total.pinned`.
    pub fn accounts(&self, charge: &mut impl Charge) -> Accounts {
        let arenas: Vec<_> = self.arenas.iter().map(|arena| self.account(arena, charge)).collect();
        let mapped = self.mapped_account();
        let mut total = mapped;
        for account in &arenas {
            total.add(account);
        }
        Accounts { arenas, mapped, total }
    }

    /// The account of one of its arenas.
    pub fn account(&self, arena: &Arena, charge: &mut impl Charge) -> Account {
        let trimmable = trimmable(self, arena);
        let mut account = Account::default();
        for part in &arena.parts {
            let mut pages = Pages::new(part, &trimmable, &mut account, charge);
            for chunk in part.chunks.iter() {
                pages.add(&chunk);
            }
            pages.finish();
        }
        account
    }

    /// Mapped chunks are live as a whole.
    fn mapped_account(&self) -> Account {
        let mut account = Account::default();
        for chunk in &self.mapped {
            account.size += length(chunk.range);
            account.live_chunks += 1;
            account.resident += chunk.resident;
        }
        account.live = account.size;
        account.live_resident = account.resident;
        account
    }
}

/// Goes through the pages of a part with its chunks.
struct Pages<'a, C> {
    part: &'a Part,
    trimmable: &'a [Range],
    account: &'a mut Account,
    charge: &'a mut C,
    /// The page that is being filled.
    page: u64,
    /// What is not free on it.
    holders: Vec<Chunk>,
    free: u64,
    held: u64,
    live: u64,
}

impl<'a, C: Charge> Pages<'a, C> {
    fn new(
        part: &'a Part,
        trimmable: &'a [Range],
        account: &'a mut Account,
        charge: &'a mut C,
    ) -> Self {
        let page = part.chunks.range().start / PAGE;
        let first = trimmable.partition_point(|range| range.end <= page * PAGE);
        let trimmable = &trimmable[first..];
        Self {
            part,
            trimmable,
            account,
            charge,
            page,
            holders: Vec::new(),
            free: 0,
            held: 0,
            live: 0,
        }
    }

    fn add(&mut self, chunk: &Chunk) {
        self.account.count(chunk);
        let last = chunk.end().saturating_sub(1) / PAGE;
        let mut start = chunk.address;
        while start < chunk.end() {
            let page = start / PAGE;
            if page != self.page {
                self.turn(page);
            }
            let end = if page == last { chunk.end() } else { (page + 1) * PAGE };
            self.hold(chunk, end - start);
            start = end;
        }
    }

    fn hold(&mut self, chunk: &Chunk, bytes: u64) {
        if chunk.state.is_free() {
            self.free += bytes;
        } else {
            self.holders.push(*chunk);
            self.held += bytes;
            self.live += if chunk.state == State::Live { bytes } else { 0 };
        }
    }

    /// Accounts for the page and goes to another one.
    fn turn(&mut self, page: u64) {
        let address = self.page * PAGE;
        let is_resident = self.part.is_resident(address);
        let reason = if is_resident { self.reason(address) } else { Reason::Returned };
        if is_resident {
            self.account.resident += self.free + self.held;
            self.account.live_resident += self.live;
        }
        *match reason {
            Reason::Pinned => &mut self.account.pinned,
            Reason::Trimmable => &mut self.account.trimmable,
            Reason::Kept => &mut self.account.kept,
            Reason::Returned => &mut self.account.returned,
        } += self.free;
        if reason == Reason::Pinned {
            self.share();
        }
        let (held, free) = (self.held, self.free);
        self.charge.page(PageUse { address, held, free, reason, is_resident });
        self.holders.clear();
        (self.free, self.held, self.live) = (0, 0, 0);
        self.page = page;
    }

    /// Why what is free on a page that is in memory is there.
    fn reason(&mut self, address: u64) -> Reason {
        while self.trimmable.first().is_some_and(|range| range.end <= address) {
            self.trimmable = &self.trimmable[1..];
        }
        let is_trimmable = self.trimmable.first().is_some_and(|range| range.contains(address));
        match () {
            () if !self.holders.is_empty() => Reason::Pinned,
            () if is_trimmable => Reason::Trimmable,
            () => Reason::Kept,
        }
    }

    /// Equal shares, since each holder alone would keep the page; the first ones take the rest.
    fn share(&mut self) {
        let count = self.holders.len() as u64;
        let (each, rest) = (self.free / count, self.free % count);
        for (index, holder) in (0..).zip(&self.holders) {
            let bytes = each + u64::from(index < rest);
            if bytes > 0 {
                self.charge.charge(holder, bytes);
            }
        }
    }

    fn finish(mut self) {
        self.turn(0);
    }
}
