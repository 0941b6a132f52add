//! What holds the memory of a snapshot: resident memory by use, glibc's heap, Python's objects.

use std::time::Duration;

use anyhow::{Result, bail};
use memtrace_abi::mapping::Range;

use super::{
    Glibc, GlibcArena, InMemory, Part, PythonObjects, Scene, Snapshot, Usage, Use,
    arenas::arena_bytes,
};
use crate::{
    decomposition::{self, Look},
    heap::{self, Accounts, Advice, Chunk, Doubt, Heap},
    inventory::{Allocator, Inventory, Limits},
    process::mappings::Mapping,
    profile::Class,
};

/// Arrays, data frames, buffers and containers that are listed, each.
const LISTED: usize = 1000;

const NO_TIME: &str = "there was no time to read it";

/// Reads all of it; what is late or cannot be read is missing.
pub(super) fn read(scene: &Scene<'_>, snapshot: &mut Snapshot) {
    let look = Look::at(scene.process, scene.objects, None, None);
    let look = scene.part(look);
    (snapshot.shared, snapshot.memory) = match look {
        Part::Read(look) => {
            let segments = decomposition::segments(&[(0, &look)]);
            (scene.part(Ok(segments)), Part::Read(look.decomposition))
        }
        Part::Missing(reason) => (Part::Missing(reason.clone()), Part::Missing(reason)),
    };
    let (heap, objects) = rayon::join(|| scene.part(glibc(scene)), || scene.part(objects(scene)));
    snapshot.glibc = heap;
    snapshot.objects = objects;
    let objects = snapshot.objects.read();
    let allocator = objects.map(|objects| objects.inventory.allocator);
    snapshot.other_allocators = other_allocators(scene, allocator).unwrap_or_default();
    snapshot.uses = uses(snapshot);
}

fn left(scene: &Scene<'_>) -> Result<Duration> {
    let left = scene.time_left();
    if left.is_zero() {
        bail!(NO_TIME);
    }
    Ok(left)
}

fn glibc(scene: &Scene<'_>) -> Result<Glibc> {
    let heap = Heap::of_process(scene.process, scene.mappings()?, left(scene)?)?;
    let accounts = heap.accounts(&mut |_: &Chunk, _: u64| {});
    Ok(Glibc::of(heap, &accounts))
}

impl Glibc {
    /// Whether there was no time to read all of the heap.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.doubts.iter().any(|doubt| matches!(doubt, Doubt::Late(_)))
    }

    /// What a heap is without its chunks.
    #[must_use]
    pub fn of(heap: Heap, accounts: &Accounts) -> Self {
        let arenas = heap.arenas.iter().zip(&accounts.arenas).zip(heap.strips());
        let arenas = arenas.map(|((arena, account), strip)| GlibcArena {
            address: arena.address,
            is_main: arena.is_main,
            account: *account,
            strip,
        });
        Self {
            version: heap.layout.version.to_string(),
            arenas: arenas.collect(),
            mapped: accounts.mapped,
            total: accounts.total,
            advice: Advice::on(&heap, accounts),
            doubts: heap.doubts,
        }
    }
}

/// Files besides the C library that bring a `malloc`; of the interpreter it is known what that uses.
fn other_allocators(scene: &Scene<'_>, of_python: Option<Allocator>) -> Result<Vec<String>> {
    let executables = scene.mappings()?.executables();
    let (libraries, others): (Vec<&Mapping>, Vec<_>) =
        executables.iter().map(|group| group[0]).partition(|mapping| heap::is_c_library(mapping));
    // Without one, the program has its C library linked in.
    let others = if libraries.is_empty() { Vec::new() } else { others };
    let known = others.into_iter().filter_map(|mapping| {
        let known = scene.objects.known(scene.objects.number(mapping)?)?;
        let is_interpreter = matches!(known.runtime, Ok(Some(_)));
        let brings_unused = is_interpreter && of_python.is_some_and(|of| of != Allocator::Other);
        known.plan.brings_malloc(brings_unused).then(|| known.name())
    });
    Ok(known.collect())
}

fn objects(scene: &Scene<'_>) -> Result<PythonObjects> {
    let interpreter = scene.objects.interpreter(scene.mappings()?);
    let (runtime, bias) = match interpreter.runtime {
        Some(runtime) => runtime,
        None if interpreter.refusals.is_empty() => bail!("the process runs no Python"),
        None => bail!("{}", interpreter.refusals.join("; ")),
    };
    let interpreter = runtime.interpreter(bias)?;
    let limits = Limits { time: left(scene)?, listed: LISTED, ..Limits::default() };
    let inventory = match Inventory::of_process(scene.process, &interpreter, &limits) {
        // What could not be found then may be there.
        Err(_) if scene.time_left().is_zero() => bail!(NO_TIME),
        inventory => inventory?,
    };
    let memory = scene.process.memory();
    let resident = |data: Range| memory.resident(data, scene.deadline).ok();
    // Between the elements of a view lies what is not its own.
    let arrays = inventory.arrays.iter().map(|array| {
        let resident = resident(array.data).map(|bytes| bytes.min(array.bytes));
        InMemory { object: array.clone(), resident }
    });
    let buffers = inventory.buffers.iter();
    let buffers =
        buffers.map(|buffer| InMemory { object: buffer.clone(), resident: resident(buffer.data) });
    let (arrays, buffers) = (arrays.collect(), buffers.collect());
    let arena_bytes = arena_bytes(&memory, &inventory, scene.deadline);
    Ok(PythonObjects { inventory, arrays, buffers, arena_bytes })
}

/// The heap's part of the resident memory, divided further, as far as its readers know.
fn uses(snapshot: &Snapshot) -> Vec<Usage> {
    let Some(memory) = snapshot.memory.read() else { return Vec::new() };
    let mut left = memory.of(Class::Untraced);
    let mut uses = Vec::new();
    let mut take = |what, bytes: u64| {
        let bytes = bytes.min(left);
        left -= bytes;
        uses.push(Usage { what, bytes });
    };
    if let Some(objects) = snapshot.objects.read()
        && let Some(arenas) = &objects.arena_bytes
    {
        let arenas = objects.inventory.arenas.iter().zip(arenas);
        let (read, unread): (Vec<_>, Vec<_>) = arenas.partition(|(arena, _)| arena.is_read);
        let used = read.iter().map(|(arena, _)| arena.used_bytes).sum::<u64>();
        let [read, unread] =
            [read, unread].map(|arenas| arenas.iter().map(|(_, resident)| **resident).sum::<u64>());
        let used = used.min(read);
        take(Use::PythonBlocks, used);
        take(Use::PythonFree, read - used);
        take(Use::PythonUnread, unread);
    }
    if let Some(Glibc { total, doubts, .. }) = snapshot.glibc.read() {
        let known = total.live_resident + total.free_resident();
        let others = total.resident.saturating_sub(known);
        let unknown = others.min(total.unknown);
        // What is left are headers and descriptors: malloc's own.
        take(Use::Live, total.live_resident + (others - unknown));
        take(Use::Trimmable, total.trimmable);
        take(Use::Pinned, total.pinned);
        take(Use::Kept, total.kept);
        let missing = doubts.iter().map(Doubt::unread_bytes).fold(unknown, u64::saturating_add);
        take(Use::Unread, missing);
    }
    take(Use::Rest, u64::MAX);
    uses.retain(|usage| usage.bytes > 0);
    uses
}
