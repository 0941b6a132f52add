//! The references from an object to others, each with what it is for.

use super::{arrays, edge::Edge, kind::Kind, reader::Reader, sizes::BLOCK_ITEMS, types::TypeId};

/// A reference from an object.
#[derive(Clone, Copy)]
pub(super) struct Reference {
    pub(super) edge: Edge,
    /// The word that holds it.
    pub(super) place: u64,
    /// The object that it leads to.
    pub(super) target: u64,
}

/// What is done with each reference; it may read on.
pub(super) type Visit<'a, R> = &'a mut dyn FnMut(&mut R, Reference);

impl Reader<'_> {
    /// Visits every reference of an object.
    pub(super) fn references(&mut self, object: u64, id: TypeId, visit: Visit<'_, Self>) {
        let kind = self.described(id).kind;
        // A container that cannot be read, or not to its end, is one that changed meanwhile.
        let _ = match kind {
            Kind::Dict | Kind::OrderedDict => self.entries(object, visit),
            Kind::List => self.list_items(object, visit),
            Kind::Tuple => {
                let length = self.size(object);
                let items = self.interpreter.structures.tuple_items;
                self.row(object.wrapping_add(items), length, visit)
            }
            Kind::Set => self.members(object, visit),
            Kind::Deque => self.deque_items(object, visit),
            Kind::NumpyArray => self.elements(object, visit),
            Kind::Cell => {
                self.visit_at(object.wrapping_add(16), Edge::Contents, visit);
                Some(())
            }
            _ => Some(()),
        };
        self.attributes(object, id, visit);
        if kind != Kind::Tuple {
            self.fields(object, id, visit);
        }
    }

    fn entries(&mut self, object: u64, visit: Visit<'_, Self>) -> Option<()> {
        let dictionary = self.dictionary(object)?;
        for index in 0..dictionary.table.count {
            let entry = self.entry(dictionary, index)?;
            if entry.key != 0 && entry.value != 0 {
                let edge = Edge::Value(index as u32);
                visit(self, Reference { edge, place: entry.value_place, target: entry.value });
                let place = entry.key_place;
                visit(self, Reference { edge: Edge::Key, place, target: entry.key });
            }
            self.go_on()?;
        }
        Some(())
    }

    fn list_items(&mut self, object: u64, visit: Visit<'_, Self>) -> Option<()> {
        let [length, items, room] = self.view.words(object.wrapping_add(16))?;
        (length <= room).then_some(())?;
        self.row(items, length, visit)
    }

    /// Pointers in a row.
    fn row(&mut self, start: u64, length: u64, visit: Visit<'_, Self>) -> Option<()> {
        for index in 0..length {
            let place = start.checked_add(index.checked_mul(8)?)?;
            let target = self.view.word(place)?;
            if target != 0 {
                visit(self, Reference { edge: Edge::Item(index as u32), place, target });
            }
            self.go_on()?;
        }
        Some(())
    }

    fn members(&mut self, object: u64, visit: Visit<'_, Self>) -> Option<()> {
        let [_, used, mask, table] = self.view.words(object.wrapping_add(16))?;
        let mut left = used;
        for slot in 0..=mask {
            if left == 0 {
                break;
            }
            let place = table.checked_add(slot.checked_mul(16)?)?;
            let target = self.view.word(place)?;
            // What was removed leaves a mark that is static.
            if target != 0 && !self.is_static(target) {
                left -= 1;
                visit(self, Reference { edge: Edge::Member, place, target });
            }
            self.go_on()?;
        }
        Some(())
    }

    /// Blocks in a row, each with a link to the one before, items, and a link to the next.
    fn deque_items(&mut self, object: u64, visit: Visit<'_, Self>) -> Option<()> {
        let length = self.size(object);
        let [mut block, _, mut slot] = self.view.words(object.wrapping_add(24))?;
        (slot <= BLOCK_ITEMS).then_some(())?;
        for index in 0..length {
            if slot == BLOCK_ITEMS {
                block = self.view.word(block.wrapping_add(8 + BLOCK_ITEMS * 8))?;
                slot = 0;
            }
            let place = block.wrapping_add(8 + slot * 8);
            let target = self.view.word(place)?;
            visit(self, Reference { edge: Edge::Item(index as u32), place, target });
            slot += 1;
            self.go_on()?;
        }
        Some(())
    }

    /// What an array of objects holds, and whose data it shows.
    fn elements(&mut self, object: u64, visit: Visit<'_, Self>) -> Option<()> {
        self.visit_at(object.wrapping_add(arrays::BASE), Edge::Field(arrays::BASE as u32), visit);
        let array = self.array(object)?;
        let bytes = array.bytes()?;
        let extent = array.extent();
        let is_dense = extent.end - extent.start == bytes && extent.start == array.data;
        if is_dense && array.owned_bytes() == bytes && self.holds_objects(&array) {
            self.row(array.data, bytes / 8, visit)?;
        }
        Some(())
    }

    /// `None` once a limit is reached.
    fn go_on(&self) -> Option<()> {
        self.view.spent().is_none().then_some(())
    }
}
