//! Types: which addresses are types, and what they say about their objects. An object is believed
//! to be one if its type is.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    data_frames::is_data_frame,
    kind::{Kind, flag},
    reader::{OB_TYPE, Reader},
};

/// Members of a `PyTypeObject` (Include/cpython/object.h), the same in 3.8 to 3.14.
const NAME: u64 = 24;
const BASIC_SIZE: u64 = 32;
const ITEM_SIZE: u64 = 40;
const FLAGS: u64 = 168;
const MEMBERS: u64 = 240;
pub(super) const BASE: u64 = 256;
pub(super) const DICT: u64 = 264;
const DICT_OFFSET: u64 = 288;

/// A type that derives from more others is not looked at.
const MAX_BASES: usize = 64;
/// A metaclass that is one through more others is not believed.
const MAX_METACLASSES: usize = 4;
/// No type's objects are larger, apart from their items.
const MAX_BASIC_SIZE: u64 = 1 << 20;
const MAX_ITEM_SIZE: u64 = 1 << 16;
const MAX_NAME: usize = 200;
/// Types that are told apart; classes made in a loop may be many.
const MAX_TYPES: usize = 100_000;

/// Stands for a type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TypeId(u32);

impl TypeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a type says about its objects.
#[derive(Clone, Debug)]
pub(super) struct Type {
    pub(super) address: u64,
    /// Name with its module; printable.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) basic_size: u64,
    pub(super) item_size: u64,
    pub(super) flags: u64,
    /// Where its objects keep a pointer to their dict; not positive: elsewhere or nowhere.
    pub(super) dict_offset: i64,
    /// Its `PyMemberDef` array.
    pub(super) members: u64,
    /// Whether its objects are listed if they are large.
    pub(super) is_listed: bool,
    /// The interpreter's minor version.
    pub(super) minor: u8,
}

/// The types seen so far.
#[derive(Default)]
pub(super) struct Types {
    numbers: HashMap<u64, TypeId, RandomState>,
    list: Vec<Type>,
    /// The one that was last asked for: many objects in a row are of one type.
    last: (u64, TypeId),
}

impl Types {
    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.list[id.index()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Type> {
        self.list.iter()
    }
}

impl Types {
    fn known(&mut self, address: u64) -> Option<TypeId> {
        if self.last.0 != address || address == 0 {
            self.last = (address, *self.numbers.get(&address)?);
        }
        Some(self.last.1)
    }

    fn add(&mut self, described: Type) -> Option<TypeId> {
        (self.list.len() < MAX_TYPES).then_some(())?;
        let id = TypeId(self.list.len() as u32);
        self.numbers.insert(described.address, id);
        self.list.push(described);
        Some(id)
    }

    /// What stands here for each of another one's types, in its order.
    pub(super) fn adopt(&mut self, others: Self) -> Vec<TypeId> {
        let mut adopt = |of: Type| {
            let known = self.numbers.get(&of.address).copied();
            known.or_else(|| self.add(of)).unwrap_or(TypeId(0))
        };
        others.list.into_iter().map(&mut adopt).collect()
    }
}

impl Reader<'_> {
    /// The type at an address, if it is one.
    pub(super) fn resolve(&mut self, address: u64) -> Option<TypeId> {
        if let Some(id) = self.types.known(address) {
            return Some(id);
        }
        self.is_type(address, MAX_METACLASSES).then_some(())?;
        let described = self.describe(address)?;
        self.types.add(described)
    }

    /// Whether the object's type is `type`, or derives from it, and it looks like a type itself.
    fn is_type(&mut self, address: u64, depth: usize) -> bool {
        let Some(of) = self.view.word(address.wrapping_add(OB_TYPE)) else { return false };
        let root = self.interpreter.type_type;
        let derives = |reader: &mut Self| {
            depth > 0
                && reader.is_type(of, depth - 1)
                && reader.flags(of).is_some_and(|flags| flags & flag::TYPE != 0)
        };
        (of == root || derives(self)) && self.flags(address).is_some()
    }

    fn flags(&mut self, of: u64) -> Option<u64> {
        let flags = self.view.word(of.wrapping_add(FLAGS))?;
        (flags & flag::READY != 0).then_some(flags)
    }

    fn describe(&mut self, address: u64) -> Option<Type> {
        let word = |reader: &mut Self, member: u64| reader.view.word(address.wrapping_add(member));
        let flags = self.flags(address)?;
        let basic_size = word(self, BASIC_SIZE)?;
        let item_size = word(self, ITEM_SIZE)?;
        let is_sane = (16..=MAX_BASIC_SIZE).contains(&basic_size) && item_size <= MAX_ITEM_SIZE;
        is_sane.then_some(())?;
        let own_name = self.own_name(address)?;
        let kind = self.kind(address)?;
        let name = self.full_name(address, flags).unwrap_or(own_name);
        Some(Type {
            address,
            kind,
            is_listed: kind == Kind::NumpyArray
                || kind.is_container()
                || kind.is_buffer()
                || is_data_frame(&name),
            name,
            basic_size,
            item_size,
            flags,
            dict_offset: word(self, DICT_OFFSET)?.cast_signed(),
            members: word(self, MEMBERS)?,
            minor: self.interpreter.structures.minor,
        })
    }

    /// `tp_name`, which is UTF-8.
    fn own_name(&mut self, of: u64) -> Option<String> {
        let pointer = self.view.word(of.wrapping_add(NAME))?;
        self.c_string(pointer, MAX_NAME)
    }

    /// Module and qualified name of a class; what its dict and its head say wins over `tp_name`.
    fn full_name(&mut self, of: u64, flags: u64) -> Option<String> {
        (flags & flag::HEAP_TYPE != 0).then_some(())?;
        let qualified = self.interpreter.structures.qualified_name;
        let qualified = self.view.word(of.wrapping_add(qualified))?;
        // Their types are not looked at: theirs could lead back here.
        let name = self.characters(qualified, MAX_NAME)?;
        let dict = self.view.word(of.wrapping_add(DICT))?;
        let module = self.item(dict, "__module__")?;
        match self.characters(module, MAX_NAME)?.as_str() {
            "builtins" => Some(name),
            module => Some(format!("{module}.{name}")),
        }
    }

    /// The kind of a type, which is that of the first of its bases that has one.
    fn kind(&mut self, of: u64) -> Option<Kind> {
        let mut at = of;
        for _ in 0..MAX_BASES {
            let name = self.own_name(at)?;
            if let Some(kind) = Kind::of(self.flags(at)?, &name) {
                return Some(kind);
            }
            at = self.view.word(at.wrapping_add(BASE))?;
            if at == 0 {
                break;
            }
        }
        Some(Kind::Other)
    }
}
