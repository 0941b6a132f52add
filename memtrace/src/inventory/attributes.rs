//! The attributes of instances, wherever they keep them, and the other references in objects whose
//! layout only their type knows.

use super::{
    dictionary::Table,
    edge::Edge,
    kind::{Kind, flag},
    reader::Reader,
    references::{Reference, Visit},
    types::{BASE, DICT, TypeId},
};
use crate::python::Instances;

/// In a `PyModuleObject`: `md_dict`.
pub(super) const MODULE_DICT: u64 = 16;
/// Attributes of an instance beside its dict; a byte counts them from 3.13 on.
const MAX_VALUES: u64 = 4096;
/// Bytes of one object in which references are looked for.
const MAX_SEARCHED: u64 = 64 << 10;
/// Bytes of a `PyMemberDef`: name, type, offset, flags, description.
const MEMBER: u64 = 40;
const MAX_MEMBERS: u64 = 1000;
/// `Py_T_OBJECT_EX` and `_Py_T_OBJECT`.
const OBJECT_MEMBERS: [u64; 2] = [16, 6];
const MAX_MEMBER_NAME: usize = 100;

impl Reader<'_> {
    /// Visits the dict of an object, or the attributes that it keeps without one.
    pub(super) fn attributes(&mut self, object: u64, id: TypeId, visit: Visit<'_, Self>) {
        let of = self.described(id);
        let (offset, is_managed) = (of.dict_offset, of.has(flag::MANAGED_DICT));
        let is_inline = of.has(flag::INLINE_VALUES);
        if of.kind == Kind::Module {
            self.visit_at(object.wrapping_add(MODULE_DICT), Edge::Dict, visit);
        } else if is_managed && self.interpreter.structures.minor >= 11 {
            self.managed(object, id, is_inline, visit);
        } else if offset > 0 {
            self.visit_at(object.wrapping_add_signed(offset), Edge::Dict, visit);
        }
    }

    fn managed(&mut self, object: u64, id: TypeId, is_inline: bool, visit: Visit<'_, Self>) {
        let dict = object.wrapping_sub(24);
        let Some(pointer) = self.view.word(dict) else { return };
        match self.interpreter.structures.instances {
            Instances::ValuesBeforeDict => {
                let values = self.view.word(object.wrapping_sub(32)).unwrap_or(0);
                self.values(id, values, MAX_VALUES, visit);
            }
            Instances::ValuesOrDict if pointer & 1 == 1 => {
                return self.values(id, pointer.wrapping_add(1), MAX_VALUES, visit);
            }
            Instances::Inline if is_inline => {
                let [room, _, _, is_valid] = [0, 1, 2, 3]
                    .map(|byte| self.view.byte(object.wrapping_add(16 + byte)).unwrap_or(0));
                if is_valid != 0 {
                    self.values(id, object.wrapping_add(24), room.into(), visit);
                }
            }
            _ => {}
        }
        self.visit_at(dict, Edge::Dict, visit);
    }

    /// Visits values in the order of the keys that the instances of a class share.
    fn values(&mut self, id: TypeId, values: u64, room: u64, visit: Visit<'_, Self>) {
        let table = if values == 0 { None } else { self.shared_keys(id) };
        let Some(table) = table else { return };
        for index in 0..table.count.min(room) {
            let edge = Edge::Attribute(index as u32);
            self.visit_at(values.wrapping_add(index * 8), edge, visit);
        }
    }

    /// The keys that the instances of a class share.
    fn shared_keys(&mut self, id: TypeId) -> Option<Table> {
        // Many instances of one class follow each other.
        if let Some((_, table)) = self.shared_keys.filter(|(last, _)| *last == id) {
            return Some(table);
        }
        let keys = self.interpreter.structures.qualified_name + 8;
        let of = self.described(id).address;
        let keys = self.view.word(of.wrapping_add(keys)).filter(|keys| *keys != 0)?;
        let table = self.table(keys)?;
        self.shared_keys = Some((id, table));
        Some(table)
    }

    /// The name of an attribute, a `str`, by its number among those.
    pub(super) fn attribute_name(&mut self, id: TypeId, index: u32) -> Option<u64> {
        let table = self.shared_keys(id)?;
        self.table_key(table, index.into())
    }

    /// Visits whatever looks like a reference, from `start` to the end of the object.
    pub(super) fn fields(&mut self, object: u64, id: TypeId, visit: Visit<'_, Self>) {
        let of = self.described(id);
        if of.kind == Kind::Type {
            for member in [DICT, BASE] {
                self.visit_at(object.wrapping_add(member), Edge::Field(member as u32), visit);
            }
            return;
        }
        let (start, dict, basic) = (of.kind.end(), of.dict_offset, of.basic_size);
        let has_items = of.has_items() && !of.kind.is_container();
        let end = match of.kind {
            Kind::Module => return,
            Kind::Generator | Kind::Frame => self.size_of(object, id).unwrap_or(basic),
            _ if has_items => basic + self.items(object, 8).unwrap_or(0).min(MAX_SEARCHED) * 8,
            _ => basic,
        };
        for member in (start..end.min(MAX_SEARCHED)).step_by(8) {
            if member.cast_signed() != dict {
                self.visit_at(object.wrapping_add(member), Edge::Field(member as u32), visit);
            }
        }
    }

    /// Visits the object that a word points to.
    pub(super) fn visit_at(&mut self, place: u64, edge: Edge, visit: Visit<'_, Self>) {
        let mask = self.interpreter.frames.pointer_mask;
        let target = self.view.word(place).map(|word| word & mask);
        if let Some(target) = target.filter(|target| *target != 0) {
            visit(self, Reference { edge, place, target });
        }
    }

    /// The name that Python code has for a member of an object of that type.
    pub(super) fn member_name(&mut self, id: TypeId, offset: u32) -> Option<String> {
        let mut of = self.described(id).address;
        for _ in 0..16 {
            let id = self.resolve(of)?;
            if let Some(name) = self.member(self.described(id).members, offset.into()) {
                return Some(name);
            }
            of = self.view.word(of.wrapping_add(BASE)).filter(|base| *base != 0)?;
        }
        None
    }

    fn member(&mut self, members: u64, wanted: u64) -> Option<String> {
        (members != 0).then_some(())?;
        for index in 0..MAX_MEMBERS {
            let [name, of, offset] = self.view.words(members.wrapping_add(index * MEMBER))?;
            (name != 0).then_some(())?;
            if offset == wanted && OBJECT_MEMBERS.contains(&(of & 0xffff_ffff)) {
                return self.c_string(name, MAX_MEMBER_NAME);
            }
        }
        None
    }
}
