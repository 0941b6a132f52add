//! An arena's memory from its first address to its last, in columns of equal size: how much of each
//! is what. A picture can be drawn of it when the heap itself is no longer there.

use super::{
    account::{Account, Charge, PageUse, Reason},
    chunk::Chunk,
    memory::PAGE,
    read::{Arena, Heap},
};

/// Columns of the longest strip, at most.
pub const COLUMNS: u64 = 760;

/// What memory of an arena is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Not free, and in memory.
    Live,
    /// [`Account::pinned`].
    Pinned,
    /// [`Account::kept`].
    Kept,
    /// [`Account::trimmable`].
    Trimmable,
    /// Not in memory, free or not.
    Returned,
}

impl Use {
    /// All of them, in the order in which a [`Column`] has them.
    pub const ALL: [Self; 5] =
        [Self::Live, Self::Pinned, Self::Kept, Self::Trimmable, Self::Returned];

    /// Bytes of it in an account.
    #[must_use]
    pub const fn of(self, account: &Account) -> u64 {
        match self {
            Self::Live => account.resident.saturating_sub(account.free_resident()),
            Self::Pinned => account.pinned,
            Self::Kept => account.kept,
            Self::Trimmable => account.trimmable,
            Self::Returned => account.size.saturating_sub(account.resident),
        }
    }
}

/// Bytes in one column, by use.
pub type Column = [u64; Use::ALL.len()];

/// The columns of one arena.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Bytes of memory that a column stands for.
    pub unit: u64,
    /// From the lowest address to the highest; parts that lie apart follow one another.
    pub columns: Vec<Column>,
    offset: u64,
}

impl Strip {
    const fn new(unit: u64) -> Self {
        Self { unit, columns: Vec::new(), offset: 0 }
    }

    fn add(&mut self, kind: Use, bytes: u64) {
        let index = (self.offset / self.unit) as usize;
        if self.columns.len() <= index {
            self.columns.resize(index + 1, Column::default());
        }
        self.columns[index][kind as usize] += bytes;
    }
}

impl Charge for Strip {
    fn charge(&mut self, _chunk: &Chunk, _bytes: u64) {}

    fn page(&mut self, page: PageUse) {
        let free = match page.reason {
            Reason::Pinned => Use::Pinned,
            Reason::Trimmable => Use::Trimmable,
            Reason::Kept => Use::Kept,
            Reason::Returned => Use::Returned,
        };
        self.add(if page.is_resident { Use::Live } else { Use::Returned }, page.held);
        self.add(free, page.free);
        self.offset += page.held + page.free;
    }
}

impl Heap {
    /// A strip for each arena, all to one scale.
    #[must_use]
    pub fn strips(&self) -> Vec<Strip> {
        let longest = self.arenas.iter().map(Arena::bytes).fold(0, u64::max);
        let unit = longest.div_ceil(COLUMNS).max(PAGE);
        let draw = |arena| {
            let mut strip = Strip::new(unit);
            self.account(arena, &mut strip);
            strip
        };
        self.arenas.iter().map(draw).collect()
    }
}
