//! Follows references from one object to the next, breadth first, so that the first way found to an
//! object is a shortest one. Small objects without references of their own are not kept: pymalloc's
//! pools have them.
//!
//! References lead anywhere in memory, of which only a part is kept. So what they lead to is looked
//! at in batches, each in the order of addresses.

use super::{
    arenas::Arenas,
    attributes::MODULE_DICT,
    edge::{Edge, Node, Packed},
    kind::{Kind, flag},
    model::Spent,
    reached::{ALIGNMENT, Objects, Reached},
    reader::Reader,
    references::Reference,
    tally::Tally,
    types::TypeId,
};

/// Addresses that are remembered, so that the ones that are met often cost little.
const RECENT: usize = 1 << 16;
/// What is looked at in the order of addresses: 32 bytes each.
const BATCH: usize = 1 << 18;
/// Objects of a batch that are followed in the order in which they were found.
const FEW: usize = 1 << 15;
/// How often what a reference leads to is looked at again, because there was no object.
const SECOND_LOOKS: u32 = 20_000;

/// What references lead to.
pub(super) struct Graph<'a> {
    nodes: Vec<Packed>,
    /// The objects of the nodes.
    reached: Reached,
    recent: Vec<u64>,
    /// References that are not yet looked at.
    proposed: Vec<Waiting>,
    /// What is in them is counted with its block.
    arenas: &'a Arenas,
    /// The dicts of modules: they are the modules' own, whatever else refers to them, such as each of
    /// their functions.
    globals: Objects,
    /// What the collector's lists lead to: objects that refer to others, beyond doubt.
    tracked: &'a Reached,
    limit: usize,
    followed: usize,
    second_looks: u32,
    spent: Option<Spent>,
}

/// A reference from a node or a root.
#[derive(Clone, Copy)]
pub(super) struct Proposed {
    pub(super) node: Node,
    /// The word that held it; 0 if none did.
    pub(super) place: u64,
}

/// As it waits: with its number among those that wait.
type Waiting = (Proposed, u32);

impl<'a> Graph<'a> {
    pub(super) fn new(arenas: &'a Arenas, tracked: &'a Reached, limit: usize) -> Self {
        Self {
            nodes: Vec::new(),
            reached: Reached::new(arenas),
            recent: vec![0; RECENT],
            proposed: Vec::new(),
            arenas,
            globals: Objects::default(),
            tracked,
            limit: limit.min(u32::MAX as usize),
            followed: 0,
            second_looks: SECOND_LOOKS,
            spent: None,
        }
    }

    /// Takes note of a module as a root.
    pub(super) fn propose_module(
        &mut self,
        reader: &mut Reader<'_>,
        tally: &mut Tally,
        module: u64,
    ) {
        self.globals.extend(reader.view.word(module.wrapping_add(MODULE_DICT)));
        let node = Node { object: module, from: 0, edge: Edge::Module };
        self.propose(reader, tally, Proposed { node, place: 0 });
    }

    /// Whether there is a node of the object.
    pub(super) fn has(&self, object: u64) -> bool {
        self.reached.contains(self.arenas.position(object), object)
    }

    /// All nodes, and the limit that was reached.
    pub(super) fn into_nodes(self) -> (Vec<Packed>, Option<Spent>) {
        (self.nodes, self.spent)
    }

    /// Follows the references of all nodes that were added, and of what they lead to.
    pub(super) fn follow(&mut self, reader: &mut Reader<'_>, tally: &mut Tally) {
        loop {
            if self.followed == self.nodes.len() {
                self.settle(reader, tally);
            }
            let Some(object) = self.nodes.get(self.followed).map(|node| node.object()) else {
                return;
            };
            self.follow_one(reader, tally, object);
            // Once there is more time it is followed again.
            if self.is_spent(reader) {
                return;
            }
            self.followed += 1;
        }
    }

    fn follow_one(&mut self, reader: &mut Reader<'_>, tally: &mut Tally, object: u64) {
        let Some(id) = reader.type_of(object) else { return };
        let from = self.followed as u32;
        reader.references(object, id, &mut |reader, Reference { edge, place, target }| {
            let node = Node { object: target, from, edge };
            self.propose(reader, tally, Proposed { node, place });
        });
    }

    /// Takes note of a reference, unless it leads to what is known.
    pub(super) fn propose(
        &mut self,
        reader: &mut Reader<'_>,
        tally: &mut Tally,
        proposed: Proposed,
    ) {
        let object = proposed.node.object;
        let recent = recent(object);
        let is_odd = !object.is_multiple_of(ALIGNMENT);
        let is_field = matches!(proposed.node.edge, Edge::Field(_));
        let is_indirect = is_field && self.globals.contains(&object);
        if self.recent[recent] == object || is_odd || is_indirect || self.spent.is_some() {
            return;
        }
        self.recent[recent] = object;
        let arena = self.arenas.position(object);
        if arena.is_some_and(|arena| self.arenas.is_plain(arena, object)) {
            return;
        }
        self.proposed.push((proposed, self.proposed.len() as u32));
        if self.proposed.len() >= BATCH {
            self.settle(reader, tally);
        }
    }

    /// Adds what has been proposed.
    fn settle(&mut self, reader: &mut Reader<'_>, tally: &mut Tally) {
        reader.view.is_late();
        let mut batch = std::mem::take(&mut self.proposed);
        batch.sort_by_key(|(proposed, _)| proposed.node.object);
        let (first, mut orders, mut settled) = (self.nodes.len(), Vec::new(), 0);
        for alike in batch.chunk_by(|(one, _), (next, _)| one.node.object == next.node.object) {
            if self.is_spent(reader) {
                break;
            }
            settled += alike.len();
            if !alike.iter().any(|(proposed, _)| self.add(reader, tally, *proposed)) {
                self.recent[recent(alike[0].0.node.object)] = 0;
            }
            orders.resize(self.nodes.len() - first, alike[0].1);
        }
        batch.drain(..settled);
        self.proposed = batch;
        self.reorder(first, &orders);
    }

    /// Brings the nodes from `first` on into the order in which they were found: of two ways to an
    /// object that are equally long, the one found first counts. Too many of them stay in the order
    /// of addresses, in which they are followed faster.
    fn reorder(&mut self, first: usize, orders: &[u32]) {
        if orders.len() <= FEW {
            let nodes = self.nodes.drain(first..);
            let mut nodes: Vec<_> = orders.iter().copied().zip(nodes).collect();
            nodes.sort_by_key(|(order, _)| *order);
            self.nodes.extend(nodes.into_iter().map(|(_, node)| node));
        }
    }

    /// Whether a limit was reached.
    pub(super) fn is_spent(&self, reader: &Reader<'_>) -> bool {
        reader.view.spent().is_some() || self.spent.is_some()
    }

    /// Adds an object unless it needs not be followed; `false` if there is none.
    fn add(&mut self, reader: &mut Reader<'_>, tally: &mut Tally, proposed: Proposed) -> bool {
        let object = proposed.node.object;
        let arena = self.arenas.position(object);
        if arena.is_some() && self.tracked.contains(arena, object) {
            self.keep(arena, proposed.node);
            return true;
        }
        let id = self.object_at(reader, arena, object);
        let Some(id) = id.or_else(|| self.look_again(reader, tally, proposed)) else {
            return false;
        };
        let of = reader.described(id);
        let (refers, is_type) = (of.refers(), of.kind == Kind::Type);
        let is_counted = arena.is_some() || reader.is_static(object);
        let is_leaf = is_counted && !refers || is_type && is_static_type(reader, object);
        if !is_leaf && self.keep(arena, proposed.node) && !is_counted {
            tally.count(reader, object, id);
        }
        true
    }

    /// The type of the object at an address, in an arena or in none, if there can be one: of tracked
    /// ones there is no doubt.
    fn object_at(
        &self,
        reader: &mut Reader<'_>,
        arena: Option<usize>,
        object: u64,
    ) -> Option<TypeId> {
        let id = reader.type_of(object)?;
        let is_certain = arena.is_some() || self.tracked.contains(None, object);
        (is_certain || reader.is_held(object, id)).then_some(id)
    }

    /// Adds a node; whether it is new.
    fn keep(&mut self, arena: Option<usize>, node: Node) -> bool {
        let is_new = !self.reached.contains(arena, node.object);
        if is_new && self.nodes.len() == self.limit {
            self.spent = Some(Spent::Objects);
            return false;
        }
        if is_new {
            self.reached.insert(arena, node.object);
            self.nodes.push(node.into());
        }
        is_new
    }

    /// Looks at a reference afresh that led to no object. What it was read from may be older than
    /// what it leads to.
    fn look_again(
        &mut self,
        reader: &mut Reader<'_>,
        tally: &mut Tally,
        Proposed { node, place }: Proposed,
    ) -> Option<TypeId> {
        (node.edge.is_certain() && !self.is_spent(reader)).then_some(())?;
        self.second_looks = self.second_looks.saturating_sub(1);
        let mask = reader.interpreter.frames.pointer_mask;
        let is_gone = |reader: &mut Reader<'_>| {
            let now = reader.view.word_now(place).map(|word| word & mask);
            now != Some(node.object)
        };
        if place == 0 || self.second_looks > 0 && is_gone(reader) {
            tally.coverage.changed_references += 1;
            return None;
        }
        let id = (self.second_looks > 0).then(|| {
            reader.view.refresh(node.object);
            self.object_at(reader, self.arenas.position(node.object), node.object)
        });
        let id = id.flatten();
        tally.coverage.failed_objects += u64::from(id.is_none());
        id
    }
}

/// Where an address is remembered.
fn recent(object: u64) -> usize {
    (object >> 4) as usize % RECENT
}

fn is_static_type(reader: &mut Reader<'_>, of: u64) -> bool {
    reader.resolve(of).is_none_or(|id| !reader.described(id).has(flag::HEAP_TYPE))
}
