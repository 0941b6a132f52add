//! Sets of objects. Millions of small ones take two bytes each at most.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use roaring::{RoaringBitmap, RoaringTreemap};

use super::arenas::Arenas;

/// Objects wherever they are.
pub(super) type Objects = HashSet<u64, RandomState>;

/// Objects lie at multiples of this.
pub(super) const ALIGNMENT: u64 = 8;
/// Blocks of pymalloc lie at multiples of this.
const UNIT: u64 = 16;

/// The objects that were reached.
pub(super) struct Reached {
    /// Addresses of the arenas, and the objects in each, in units from there.
    arenas: Vec<(u64, RoaringBitmap)>,
    /// In units as well.
    others: RoaringTreemap,
}

impl Reached {
    pub(super) fn new(arenas: &Arenas) -> Self {
        let starts = arenas.list.iter().map(|arena| arena.range.start);
        let arenas = starts.map(|start| (start, RoaringBitmap::new())).collect();
        Self { arenas, others: RoaringTreemap::new() }
    }

    /// Adds an object that is in an arena, or in none; whether it is new.
    pub(super) fn insert(&mut self, arena: Option<usize>, object: u64) -> bool {
        match arena.and_then(|arena| self.arenas.get_mut(arena)) {
            Some((start, objects)) => objects.insert(unit(*start, object)),
            None => self.others.insert(object / ALIGNMENT),
        }
    }

    /// Every object: those in arenas by address, then the others.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> {
        let in_arena = |(start, objects): &(u64, RoaringBitmap)| {
            let start = *start;
            objects.clone().into_iter().map(move |unit| start + u64::from(unit) * UNIT)
        };
        self.arenas.iter().flat_map(in_arena).chain(self.outside())
    }

    /// Those that are in no arena, by address.
    pub(super) fn outside(&self) -> impl Iterator<Item = u64> {
        self.others.iter().map(|unit| unit * ALIGNMENT)
    }

    pub(super) fn contains(&self, arena: Option<usize>, object: u64) -> bool {
        match arena.and_then(|arena| self.arenas.get(arena)) {
            Some((start, objects)) => objects.contains(unit(*start, object)),
            None => self.others.contains(object / ALIGNMENT),
        }
    }
}

/// Arenas have less than 4 GiB.
fn unit(start: u64, object: u64) -> u32 {
    (object.wrapping_sub(start) / UNIT) as u32
}
