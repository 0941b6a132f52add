//! The processes of a session, by their slots in the kernel.

use std::collections::{BTreeSet, HashMap};

use super::target::Target;

/// Those that are or were traced, in the order in which they came.
#[derive(Default)]
pub struct Targets {
    list: Vec<Target>,
    places: HashMap<u32, usize>,
}

impl Targets {
    /// Adds a target, or puts it in the place of the one that had its slot.
    pub fn put(&mut self, target: Target) {
        let next = self.list.len();
        let place = *self.places.entry(target.slot).or_insert(next);
        match self.list.get_mut(place) {
            Some(old) => *old = target,
            None => self.list.push(target),
        }
    }

    /// Puts a target in the place of one with another slot.
    pub fn replace(&mut self, old: u32, target: Target) {
        if let Some(place) = self.places.remove(&old) {
            self.places.insert(target.slot, place);
        }
        self.put(target);
    }

    /// Takes out targets that have ended.
    pub fn remove(&mut self, slots: &BTreeSet<u32>) {
        self.list.retain(|target| !slots.contains(&target.slot));
        self.places = self.list.iter().map(|target| target.slot).zip(0..).collect();
    }

    /// The target in a slot.
    #[must_use]
    pub fn get(&self, slot: u32) -> Option<&Target> {
        self.list.get(self.index(slot)?)
    }

    /// The target in a slot.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Target> {
        let place = self.index(slot)?;
        self.list.get_mut(place)
    }

    /// The place of a slot's target in the order.
    #[must_use]
    pub fn index(&self, slot: u32) -> Option<usize> {
        self.places.get(&slot).copied()
    }

    /// The slots, in order.
    #[must_use]
    pub fn slots(&self) -> Vec<u32> {
        self.iter().map(|target| target.slot).collect()
    }

    /// All, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Target> {
        self.list.iter()
    }

    /// All, in order.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Target> {
        self.list.iter_mut()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}
