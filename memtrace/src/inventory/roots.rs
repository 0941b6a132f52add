//! Puts an inventory together: the pools, the collector's lists, and references from local
//! variables, modules, and then whatever else is tracked.

use super::{
    arenas::Arenas,
    blocks::Blocks,
    collector::Tracked,
    edge::{Edge, Node},
    frames::Activation,
    graph::{Graph, Proposed},
    holder::Holders,
    kind::Kind,
    model::{Allocator, Arena, Array, Container, Inventory, Limits, SparsePools, Spent},
    reader::Reader,
    references::Reference,
    tally::{Tally, Top},
    view,
};
use crate::{
    heap::Memory,
    process::deadline,
    python::{Interpreter, Refusal},
};

/// What following references may take of the time, in hundredths: then there is some left to say who
/// holds what.
const FOLLOWING_SHARE: u32 = 85;
/// Bytes that are kept of what blocks are counted in: it is gone through once.
const KEPT_BYTES: usize = 8 << 20;

impl Inventory {
    /// Reads the objects of an interpreter, as far as limits allow. Fails if the lists of its
    /// collector cannot be found, for then its layout is another one than known.
    pub fn read(
        memory: &(dyn Memory + Sync),
        interpreter: &Interpreter,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let mut reader = Reader::new(memory, interpreter, limits, view::ANYWHERE);
        let arenas = reader.find_arenas();
        let few = Limits { kept_bytes: KEPT_BYTES, ..*limits };
        let mut of_blocks = Reader::new(memory, interpreter, &few, view::ALONG);
        let (reached, mut blocks) = deadline::both(
            || reader.reach(&arenas, limits),
            || Blocks::count(&mut of_blocks, &arenas, limits.listed),
        );
        let (mut tally, mut holders, spent) = reached?;
        let spent = spent.or(of_blocks.view.spent()).or(reader.view.spent());
        let allocator = match blocks.are_hooked() {
            None if reader.is_malloc => Allocator::Malloc,
            None => Allocator::Other,
            Some(true) => Allocator::PymallocDebug,
            Some(false) => Allocator::Pymalloc,
        };
        blocks.tally.coverage.read_bytes = of_blocks.view.read_bytes();
        let sparse = blocks.sparse_pools();
        let types = reader.types.adopt(of_blocks.types);
        tally.append(blocks.tally, &types);
        tally.coverage.spent = spent;
        let mut pools = Pools { allocator, arenas: blocks.arenas, sparse };
        pools.renumber(|of| types.get(of).map_or(0, |id| id.index()));
        reader.view.allow(100);
        Ok(reader.conclude(tally, &mut holders, pools))
    }
}

/// What small objects lie in.
struct Pools {
    allocator: Allocator,
    arenas: Vec<Arena>,
    sparse: SparsePools,
}

impl Pools {
    /// Gives the types other numbers.
    fn renumber(&mut self, number: impl Fn(usize) -> usize) {
        let of_arenas = self.arenas.iter_mut().flat_map(|arena| &mut arena.types);
        of_arenas.for_each(|(of, _)| *of = number(*of));
        self.sparse.types.iter_mut().for_each(|(of, _)| *of = number(*of));
    }
}

impl Graph<'_> {
    fn follow_variables(
        &mut self,
        reader: &mut Reader<'_>,
        tally: &mut Tally,
        (activations, tracked): (&[Activation], &Tracked),
    ) {
        for module in &tracked.modules {
            self.propose_module(reader, tally, *module);
        }
        for (index, activation) in activations.iter().enumerate() {
            if reader.view.spent().is_some() {
                return;
            }
            let mut variables = reader.locals(activation);
            variables.extend(reader.locals_dict(activation));
            for Reference { edge, place, target } in variables {
                let node = Node { object: target, from: index as u32, edge };
                self.propose(reader, tally, Proposed { node, place });
            }
        }
        self.follow(reader, tally);
    }

    fn follow_rest(&mut self, reader: &mut Reader<'_>, tally: &mut Tally, tracked: &Tracked) {
        self.follow(reader, tally);
        for object in tracked.objects.iter() {
            if self.is_spent(reader) {
                break;
            }
            if !self.has(object) {
                let node = Node { object, from: 0, edge: Edge::Stray };
                self.propose(reader, tally, Proposed { node, place: 0 });
                self.follow(reader, tally);
            }
        }
        tally.coverage.is_followed = !self.is_spent(reader);
    }
}

impl Reader<'_> {
    /// Follows references, and counts what is in no arena.
    fn reach(
        &mut self,
        arenas: &Arenas,
        limits: &Limits,
    ) -> Result<(Tally, Holders, Option<Spent>), Refusal> {
        let tracked = self.tracked(arenas, limits.objects);
        let tracked = tracked.ok_or(Refusal::Incomplete("list of the garbage collector"))?;
        self.learn_chunks(&tracked.objects);
        let mut tally = Tally::new(limits.listed);
        tally.coverage.tracked = tracked.count as u64;
        tally.coverage.failed_objects = tracked.broken;
        let activations = self.activations();
        let mut graph = Graph::new(arenas, &tracked.objects, limits.objects);
        self.view.allow(FOLLOWING_SHARE);
        graph.follow_variables(self, &mut tally, (&activations, &tracked));
        graph.follow_rest(self, &mut tally, &tracked);
        let (nodes, spent) = graph.into_nodes();
        Ok((tally, Holders::new(nodes, activations), spent))
    }

    fn conclude(&mut self, tally: Tally, holders: &mut Holders, mut pools: Pools) -> Inventory {
        let (types, places) = tally.types(&self.types);
        pools.renumber(|of| places[of]);
        let mut coverage = tally.coverage;
        let lists = [tally.containers, tally.buffers, tally.arrays, tally.data_frames];
        let lists = lists.map(Top::into_list);
        holders.find(&lists.iter().flatten().map(|(_, object)| *object).collect());
        let [containers, buffers, arrays, data_frames] = lists.map(Vec::into_iter);
        let containers = containers.filter_map(|entry| self.container(entry, holders)).collect();
        let buffers = buffers.filter_map(|entry| self.buffer(entry, holders)).collect();
        let arrays = arrays.filter_map(|(_, object)| self.listed_array(object, holders)).collect();
        let mut data_frames: Vec<_> =
            data_frames.filter_map(|(_, object)| self.data_frame(object, holders)).collect();
        data_frames.sort_by_key(|frame| std::cmp::Reverse(frame.bytes));
        coverage.read_bytes += self.view.read_bytes();
        Inventory {
            version: self.interpreter.version,
            allocator: pools.allocator,
            arenas: pools.arenas,
            sparse_pools: pools.sparse,
            types,
            arrays,
            array_count: tally.array_count,
            array_bytes: tally.array_bytes,
            data_frames,
            buffers,
            containers,
            coverage,
        }
    }

    fn container(&mut self, (bytes, address): (u64, u64), holders: &Holders) -> Option<Container> {
        let id = self.type_of(address)?;
        let of = self.described(id);
        let (kind, type_name) = (of.kind, of.name.clone());
        let length = match kind {
            Kind::Set => self.view.word(address.wrapping_add(24))?,
            _ => self.size(address),
        };
        let holder = holders.holder(self, address);
        Some(Container { address, type_name, length, bytes, holder })
    }

    fn listed_array(&mut self, address: u64, holders: &Holders) -> Option<Array> {
        if !self.is_array(address) {
            return None;
        }
        let array = self.array(address)?;
        Some(Array {
            address,
            dtype: self.dtype(&array),
            bytes: array.bytes()?,
            data: array.extent(),
            owner: self.owner(&array),
            holder: holders.holder(self, address),
            shape: array.shape,
        })
    }
}
