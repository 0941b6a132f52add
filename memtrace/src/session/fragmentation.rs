//! Who keeps free memory resident: the blocks of a process's heap, by the stacks that allocated them.

use std::{collections::HashMap, time::Duration};

use anyhow::Result;

use crate::{
    heap::{Account, Accounts, Charge, Chunk, Heap, State},
    process::{Process, mappings::Mappings},
    profile::{self, Amount},
    report,
    snapshot::{Glibc, PythonObjects},
};

/// What reading a heap may take.
const LIMIT: Duration = Duration::from_secs(5);

/// Who pins memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// A recorded stack.
    Stack(u64),
    /// Blocks without one, of this many bytes up to twice as many.
    Unseen(u64),
    /// malloc itself.
    Allocator,
}

/// What a heap's free memory is pinned by.
pub struct Fragmentation {
    /// Where all its memory is.
    pub heap: profile::Heap,
    /// The sum of it.
    pub total: Account,
    /// Pinned bytes and the blocks that pin them.
    pub owners: Vec<(Owner, Amount)>,
}

impl Fragmentation {
    /// Reads the heap of a process; `stack_of` knows who allocated the memory at an address.
    pub fn read(process: &Process, stack_of: impl FnMut(u64) -> Option<u64>) -> Result<Self> {
        let mappings = process.mappings()?;
        let heap = Heap::of_process(process, &mappings, LIMIT)?;
        let mut charges = Charges { stack_of, by_owner: HashMap::new(), recent: None };
        let accounts = heap.accounts(&mut charges);
        let mut owners: Vec<_> = charges.by_owner.into_iter().collect();
        owners.sort_unstable();
        let mut heap = summary(heap, &accounts);
        heap.remarks.extend(python(process, &mappings));
        Ok(Self { heap, total: accounts.total, owners })
    }
}

/// Adds up what is charged to each owner.
struct Charges<F> {
    stack_of: F,
    by_owner: HashMap<Owner, Amount>,
    /// The last chunk and its owner: a chunk's pages come one after the other.
    recent: Option<(u64, Owner)>,
}

impl<F: FnMut(u64) -> Option<u64>> Charge for Charges<F> {
    fn charge(&mut self, chunk: &Chunk, bytes: u64) {
        let known = self.recent.filter(|(address, _)| *address == chunk.address);
        let owner = known.map_or_else(|| self.owner(chunk), |(_, owner)| owner);
        self.recent = Some((chunk.address, owner));
        let objects = u64::from(known.is_none());
        *self.by_owner.entry(owner).or_default() += Amount { bytes, objects };
    }
}

impl<F: FnMut(u64) -> Option<u64>> Charges<F> {
    fn owner(&mut self, chunk: &Chunk) -> Owner {
        let unseen = || Owner::Unseen(1 << chunk.size.max(1).ilog2());
        match chunk.state {
            State::Own => Owner::Allocator,
            _ => (self.stack_of)(chunk.memory()).map_or_else(unseen, Owner::Stack),
        }
    }
}

fn summary(heap: Heap, accounts: &Accounts) -> profile::Heap {
    let glibc = Glibc::of(heap, accounts);
    let arenas = glibc.arenas.iter().enumerate();
    let mut arenas: Vec<_> =
        arenas.map(|(number, arena)| arena_of(arena.name(number), &arena.account)).collect();
    arenas.push(arena_of("own mappings".to_owned(), &glibc.mapped));
    profile::Heap { arenas, remarks: report::heap::sentences(&glibc) }
}

/// What keeps Python's own arenas, or why that is not known.
fn python(process: &Process, mappings: &Mappings) -> Vec<String> {
    match PythonObjects::of_arenas(process, mappings, LIMIT) {
        Ok(objects) => objects.as_ref().map(report::snapshot::of_arenas).unwrap_or_default(),
        Err(error) => vec![format!("What is in Python's arenas is not known: {error:#}.")],
    }
}

fn arena_of(name: String, account: &Account) -> profile::Arena {
    profile::Arena {
        name,
        size: account.size,
        resident: account.resident,
        live: account.live,
        blocks: account.live_chunks,
        free: account.free(),
        pinned: account.pinned,
        trimmable: account.trimmable,
        kept: account.kept,
    }
}
