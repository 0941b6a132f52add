//! Reads single objects: what everything else here is made of.

use super::{
    Limits,
    dictionary::Table,
    types::{Type, TypeId, Types},
    view::View,
};
use crate::{heap::Memory, python::Interpreter};

/// The type of an object, in every object's second word.
pub(super) const OB_TYPE: u64 = 8;
/// The number of items of an object that has some.
pub(super) const OB_SIZE: u64 = 16;

/// An interpreter's objects, seen through a view of the process.
pub(super) struct Reader<'m> {
    pub(super) view: View<'m>,
    pub(super) types: Types,
    pub(super) interpreter: &'m Interpreter,
    /// The last that were asked for of a class.
    pub(super) shared_keys: Option<(TypeId, Table)>,
    /// Whether chunks of glibc's malloc hold the objects that are in its memory.
    pub(super) has_chunks: bool,
    /// Whether they hold most of those that pymalloc does not.
    pub(super) is_malloc: bool,
}

impl<'m> Reader<'m> {
    /// Memory is read in windows of `1 << bits` bytes.
    pub(super) fn new(
        memory: &'m (dyn Memory + Sync),
        interpreter: &'m Interpreter,
        limits: &Limits,
        bits: u32,
    ) -> Self {
        let view = View::new(memory, limits, bits);
        Self {
            view,
            types: Types::default(),
            interpreter,
            shared_keys: None,
            has_chunks: false,
            is_malloc: false,
        }
    }

    /// The type of the object at an address, if there is an object that is in use.
    pub(super) fn type_of(&mut self, object: u64) -> Option<TypeId> {
        let [references, of] = self.view.words(object)?;
        is_in_use(references, self.interpreter.structures.minor).then_some(())?;
        self.resolve(of)
    }

    /// The description of a type that was resolved.
    pub(super) fn described(&self, id: TypeId) -> &Type {
        self.types.get(id)
    }

    /// The number of items of an object; 0 if it cannot be read.
    pub(super) fn size(&mut self, object: u64) -> u64 {
        self.view.word(object.wrapping_add(OB_SIZE)).unwrap_or(0)
    }

    /// Whether the address lies in the interpreter's own data.
    pub(super) fn is_static(&self, address: u64) -> bool {
        self.interpreter.data.iter().any(|range| range.contains(address))
    }
}

/// Whether a word is the reference count of an object that is not on a free list: positive; 32 bits
/// with flags above from 3.12 on, when some objects became immortal (`Include/object.h`).
pub(super) fn is_in_use(references: u64, minor: u8) -> bool {
    let [low, high] = [references as u32, (references >> 32) as u32];
    match minor {
        // 16 bits that count overflows, then 16 of which a few are flags.
        14.. => low != 0 && high & 0xff00_ffff == 0,
        12.. => low != 0 && high == 0,
        _ => low.cast_signed() > 0 && high == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::is_in_use;

    #[test]
    fn reference_counts_are_positive_and_small() {
        for minor in 8..=14 {
            assert!(is_in_use(1, minor) && is_in_use(1_000_000, minor));
            assert!(!is_in_use(0, minor) && !is_in_use(0x7f12_3456_7890, minor));
            assert!(!is_in_use(u64::MAX, minor));
        }
        let immortal = [
            (12, 0xffff_ffff),
            (13, 0xffff_ffff),
            (14, 0xc000_0000),
            (14, 0x5_0000_0000_0000 | 0xc000_0000),
        ];
        for (minor, references) in immortal {
            assert!(is_in_use(references, minor), "3.{minor}");
        }
    }
}
