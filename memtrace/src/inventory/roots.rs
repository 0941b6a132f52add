//! Puts an inventory together: the pools, the collector's lists, and references from local
//! variables, modules, and then whatever else is tracked.

use memtrace_abi::mapping::Range;

use super::{
    arenas::RawArena,
    collector::Tracked,
    frames::Activation,
    graph::{Graph, Node, ROOT},
    holder::Holders,
    kind::Kind,
    model::{Allocator, Arena, Array, Container, Inventory, Limits},
    reader::Reader,
    references::Edge,
    tally::Tally,
};
use crate::{
    heap::Memory,
    python::{Interpreter, Refusal},
};

/// What following variables may take of the time, in hundredths.
const VARIABLES_SHARE: u32 = 60;

impl Inventory {
    /// Reads the objects of an interpreter, as far as limits allow. Fails if the lists of its
    /// collector cannot be found, for then its layout is another one than known.
    pub fn read(
        memory: &dyn Memory,
        interpreter: &Interpreter,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let mut reader = Reader::new(memory, interpreter, limits);
        let tracked = reader.tracked(limits.objects);
        let tracked = tracked.ok_or(Refusal::Incomplete("list of the garbage collector"))?;
        let arenas = reader.find_arenas();
        let mut tally = Tally::new(limits.listed);
        tally.coverage.tracked = tracked.objects.len() as u64;
        tally.coverage.failed_objects = tracked.broken;
        let ranges: Vec<Range> = arenas.iter().map(|arena| arena.range).collect();
        let activations = reader.activations();
        let mut graph = Graph::new(&ranges, limits.objects);
        // What variables hold comes first, but must not take all the time.
        reader.view.allow(VARIABLES_SHARE);
        graph.follow_variables(&mut reader, &mut tally, (&activations, &tracked));
        reader.view.allow(100);
        let counted =
            arenas.iter().map(|arena| tally.count_arena(&mut reader, &graph, *arena)).collect();
        graph.follow_rest(&mut reader, &mut tally, &tracked);
        let allocator = allocator(&arenas, &tally);
        let mut holders = Holders { graph, activations };
        Ok(reader.conclude(tally, &mut holders, (allocator, counted)))
    }
}

fn allocator(arenas: &[RawArena], tally: &Tally) -> Allocator {
    match tally.is_hooked() {
        _ if arenas.is_empty() || tally.coverage.blocks == 0 => Allocator::Other,
        true => Allocator::PymallocDebug,
        false => Allocator::Pymalloc,
    }
}

impl Graph<'_> {
    fn follow_variables(
        &mut self,
        reader: &mut Reader<'_>,
        tally: &mut Tally,
        (activations, tracked): (&[Activation], &Tracked),
    ) {
        let mut add = |graph: &mut Self, reader: &mut Reader<'_>, object, edge| {
            graph.add(reader, tally, Node { object, from: ROOT, edge });
        };
        for (index, activation) in activations.iter().enumerate() {
            let index = index as u32;
            if reader.view.spent().is_some() {
                return;
            }
            for (name, value) in reader.locals(activation) {
                add(self, reader, value, Edge::Local(index, name));
            }
            if let Some(dict) = reader.locals_dict(activation) {
                add(self, reader, dict, Edge::Locals(index));
            }
        }
        for object in &tracked.objects {
            let id = reader.type_of(*object);
            if id.is_some_and(|id| reader.described(id).kind == Kind::Module) {
                add(self, reader, *object, Edge::Module);
            }
        }
        self.follow(reader, tally);
    }

    fn follow_rest(&mut self, reader: &mut Reader<'_>, tally: &mut Tally, tracked: &Tracked) {
        self.follow(reader, tally);
        for object in &tracked.objects {
            if reader.view.spent().is_some() {
                break;
            }
            if self.number(*object).is_none() {
                self.add(reader, tally, Node { object: *object, from: ROOT, edge: Edge::Stray });
                self.follow(reader, tally);
            }
        }
        tally.coverage.is_followed = reader.view.spent().is_none() && self.spent.is_none();
    }
}

impl Reader<'_> {
    fn conclude(
        &mut self,
        tally: Tally,
        holders: &mut Holders<'_>,
        (allocator, mut arenas): (Allocator, Vec<Arena>),
    ) -> Inventory {
        let (types, places) = tally.types(&self.types);
        for arena in &mut arenas {
            arena.types.iter_mut().for_each(|(of, _)| *of = places[*of]);
        }
        let mut coverage = tally.coverage;
        coverage.spent = self.view.spent().or(holders.graph.spent);
        let containers = tally.containers.into_list().into_iter();
        let containers = containers.filter_map(|entry| self.container(entry, holders)).collect();
        let arrays = tally.arrays.into_list().into_iter();
        let arrays = arrays.filter_map(|(_, object)| self.listed_array(object, holders)).collect();
        let data_frames = tally.data_frames.into_list().into_iter();
        let mut data_frames: Vec<_> =
            data_frames.filter_map(|(_, object)| self.data_frame(object, holders)).collect();
        data_frames.sort_by_key(|frame| std::cmp::Reverse(frame.bytes));
        coverage.read_bytes = self.view.read_bytes();
        Inventory {
            version: self.interpreter.version,
            allocator,
            arenas,
            types,
            arrays,
            array_count: tally.array_count,
            array_bytes: tally.array_bytes,
            data_frames,
            containers,
            coverage,
        }
    }

    fn container(
        &mut self,
        (bytes, address): (u64, u64),
        holders: &Holders<'_>,
    ) -> Option<Container> {
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

    fn listed_array(&mut self, address: u64, holders: &Holders<'_>) -> Option<Array> {
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
