//! Follows references from one object to the next, breadth first, so that the first way found to an
//! object is a shortest one. Small objects without references of their own are not kept: pymalloc's
//! pools have them.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use memtrace_abi::mapping::Range;

use super::{
    kind::{Kind, flag},
    model::Spent,
    reader::Reader,
    references::Edge,
    tally::Tally,
};

/// A node without one before it.
pub(super) const ROOT: u32 = u32::MAX;
/// Addresses of small objects that are remembered, so that common ones cost little.
const ATOMS: usize = 1 << 16;
/// The clock is looked at once for so many references.
const BETWEEN_LOOKS: u64 = 1 << 16;

/// An object that was reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) object: u64,
    /// The node that it was first reached from.
    pub(super) from: u32,
    pub(super) edge: Edge,
}

/// What references lead to.
pub(super) struct Graph<'a> {
    nodes: Vec<Node>,
    numbers: HashMap<u64, u32, RandomState>,
    atoms: Vec<u64>,
    /// Sorted; what is in them is counted with its pool.
    arenas: &'a [Range],
    limit: usize,
    followed: usize,
    edges: u64,
    pub(super) spent: Option<Spent>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(arenas: &'a [Range], limit: usize) -> Self {
        Self {
            nodes: Vec::new(),
            numbers: HashMap::default(),
            atoms: vec![0; ATOMS],
            arenas,
            limit: limit.min(ROOT as usize),
            followed: 0,
            edges: 0,
            spent: None,
        }
    }

    /// The node of an object.
    pub(super) fn number(&self, object: u64) -> Option<u32> {
        self.numbers.get(&object).copied()
    }

    pub(super) fn node(&self, number: u32) -> Option<Node> {
        self.nodes.get(number as usize).copied()
    }

    /// Follows the references of all nodes that were added, and of what they lead to.
    pub(super) fn follow(&mut self, reader: &mut Reader<'_>, tally: &mut Tally) {
        while let Some(Node { object, .. }) = self.nodes.get(self.followed).copied() {
            if reader.view.spent().is_some() || self.spent.is_some() {
                return;
            }
            let from = self.followed as u32;
            self.followed += 1;
            let Some(id) = reader.type_of(object) else { continue };
            reader.references(object, id, &mut |reader, edge, target| {
                self.add(reader, tally, Node { object: target, from, edge });
            });
        }
    }

    /// Adds an object unless it is there already, is none, or needs not be followed.
    pub(super) fn add(&mut self, reader: &mut Reader<'_>, tally: &mut Tally, node: Node) {
        self.edges += 1;
        if self.edges.is_multiple_of(BETWEEN_LOOKS) {
            reader.view.is_late();
        }
        let object = node.object;
        let atom = (object >> 4) as usize % ATOMS;
        let is_known = self.atoms[atom] == object || self.numbers.contains_key(&object);
        if !object.is_multiple_of(8) || is_known {
            return;
        }
        let Some(id) = reader.type_of(object) else {
            let is_certain = !matches!(node.edge, Edge::Field(_));
            tally.coverage.failed_objects += u64::from(is_certain);
            return;
        };
        let of = reader.described(id);
        let (refers, is_type) = (of.refers(), of.kind == Kind::Type);
        let is_counted = self.is_in_arena(object) || reader.is_static(object);
        if is_counted && !refers || is_type && is_static_type(reader, object) {
            self.atoms[atom] = object;
        } else if self.nodes.len() == self.limit {
            self.spent = Some(Spent::Objects);
        } else {
            self.numbers.insert(object, self.nodes.len() as u32);
            self.nodes.push(node);
            tally.reached(reader, (object, id), is_counted);
        }
    }

    fn is_in_arena(&self, address: u64) -> bool {
        let behind = self.arenas.partition_point(|arena| arena.start <= address);
        self.arenas[..behind].last().is_some_and(|arena| arena.contains(address))
    }
}

fn is_static_type(reader: &mut Reader<'_>, of: u64) -> bool {
    reader.resolve(of).is_none_or(|id| !reader.described(id).has(flag::HEAP_TYPE))
}
