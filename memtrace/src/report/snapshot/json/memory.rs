//! What holds the memory of a snapshot, as JSON.

use serde_json::{Map, Value, json};

use super::super::super::heap::doubt;
use crate::{
    heap::{Account, Advice, Basis, Remedy},
    inventory::{
        Allocator, Array, Buffer, Container, DataFrame, Holder, Inventory, Owner, Root, SparsePools,
    },
    profile::Segment,
    snapshot::{ArenaGroup, Glibc, GlibcArena, InMemory, PythonObjects, Usage},
};

/// What the heap's part of the resident memory is used for.
pub(super) fn uses(uses: &[Usage]) -> Value {
    let uses = uses.iter().map(|usage| (usage.what.name().to_owned(), usage.bytes.into()));
    Value::Object(uses.collect::<Map<_, _>>())
}

/// The heap of glibc's malloc.
pub(super) fn heap(glibc: &Glibc) -> Value {
    json!({
        "glibc": glibc.version,
        "arenas": glibc.arenas.iter().map(arena).collect::<Vec<_>>(),
        "mapped": account(&glibc.mapped),
        "total": account(&glibc.total),
        "advice": glibc.advice.iter().map(advice).collect::<Vec<_>>(),
        "doubts": glibc.doubts.iter().map(doubt).collect::<Vec<_>>(),
    })
}

fn arena(arena: &GlibcArena) -> Value {
    json!({
        "address": arena.address,
        "is_main": arena.is_main,
        "account": account(&arena.account),
    })
}

fn account(account: &Account) -> Value {
    json!({
        "size": account.size,
        "resident": account.resident,
        "live": account.live,
        "live_chunks": account.live_chunks,
        "live_resident": account.live_resident,
        "own": account.own,
        "binned": account.binned,
        "fast": account.fast,
        "cached": account.cached,
        "top": account.top,
        "unknown": account.unknown,
        "pinned": account.pinned,
        "trimmable": account.trimmable,
        "kept": account.kept,
        "returned": account.returned,
    })
}

fn advice(advice: &Advice) -> Value {
    let remedy = match advice.remedy {
        Remedy::Trim { .. } => "malloc_trim",
        Remedy::FewerArenas { .. } => "fewer_arenas",
        Remedy::FixedThreshold { .. } => "fixed_mmap_threshold",
        Remedy::OtherAllocator => "other_allocator",
    };
    let is_measured = advice.basis == Basis::Measured;
    json!({ "remedy": remedy, "bytes": advice.bytes, "measured": is_measured })
}

/// The Python objects.
pub(super) fn objects(objects: &PythonObjects) -> Value {
    let inventory = &objects.inventory;
    let types = inventory.types.iter();
    let types = types
        .map(|total| json!({ "name": total.name, "count": total.count, "bytes": total.bytes }));
    let allocator = match inventory.allocator {
        Allocator::Pymalloc => "pymalloc",
        Allocator::PymallocDebug => "pymalloc_debug",
        Allocator::Malloc => "malloc",
        Allocator::Other => "other",
    };
    json!({
        "python": inventory.version.to_string(),
        "allocator": allocator,
        "arenas": inventory.arenas.len(),
        "arenas_resident_bytes": objects.arena_bytes.as_ref().map(|bytes| bytes.iter().sum::<u64>()),
        "arenas_used_bytes": inventory.arenas.iter().map(|arena| arena.used_bytes).sum::<u64>(),
        "arenas_by_use": objects.arenas_by_use().iter().map(arena_group).collect::<Vec<_>>(),
        "sparse_pools": sparse_pools(inventory),
        "types": types.collect::<Vec<_>>(),
        "arrays": objects.arrays.iter().map(array).collect::<Vec<_>>(),
        "array_count": inventory.array_count,
        "array_bytes": inventory.array_bytes,
        "data_frames": inventory.data_frames.iter().map(data_frame).collect::<Vec<_>>(),
        "buffers": objects.buffers.iter().map(buffer).collect::<Vec<_>>(),
        "containers": inventory.containers.iter().map(container).collect::<Vec<_>>(),
        "coverage": coverage(inventory),
    })
}

fn arena_group(group: &ArenaGroup) -> Value {
    let types = group.types.iter().map(|(name, count)| json!({ "name": name, "count": count }));
    json!({
        "least_percent": group.percent.map(|percent| percent.0),
        "below_percent": group.percent.map(|percent| percent.1),
        "arenas": group.count,
        "resident_bytes": group.resident,
        "used_bytes": group.used,
        "types": types.collect::<Vec<_>>(),
    })
}

fn sparse_pools(inventory: &Inventory) -> Value {
    let SparsePools { count, bytes, used_bytes, types } = &inventory.sparse_pools;
    let types = types.iter().filter_map(|(of, count)| {
        Some(json!({ "name": inventory.types.get(*of)?.name, "count": count }))
    });
    let types: Vec<_> = types.collect();
    json!({ "pools": count, "bytes": bytes, "used_bytes": used_bytes, "types": types })
}

fn coverage(inventory: &Inventory) -> Value {
    let coverage = &inventory.coverage;
    json!({
        "objects": coverage.objects,
        "failed_objects": coverage.failed_objects,
        "changed_references": coverage.changed_references,
        "pools": coverage.pools,
        "failed_pools": coverage.failed_pools,
        "blocks": coverage.blocks,
        "other_blocks": coverage.other_blocks,
        "other_bytes": coverage.other_bytes,
        "complete": coverage.is_complete(),
    })
}

fn array(InMemory { object: array, resident }: &InMemory<Array>) -> Value {
    let base = match &array.owner {
        Owner::Itself => None,
        Owner::Base { type_name, .. } => Some(&**type_name),
        Owner::Unknown => Some("[unknown]"),
    };
    json!({
        "address": array.address,
        "dtype": array.dtype,
        "shape": array.shape,
        "bytes": array.bytes,
        "resident_bytes": resident,
        "view_of": base,
        "holder": array.holder.as_ref().map(holder),
    })
}

fn data_frame(frame: &DataFrame) -> Value {
    let dtypes = frame.dtypes.iter();
    let dtypes = dtypes
        .map(|(name, columns, bytes)| json!({ "dtype": name, "columns": columns, "bytes": bytes }));
    json!({
        "address": frame.address,
        "rows": frame.rows,
        "columns": frame.columns,
        "bytes": frame.bytes,
        "dtypes": dtypes.collect::<Vec<_>>(),
        "holder": frame.holder.as_ref().map(holder),
    })
}

fn buffer(InMemory { object: buffer, resident }: &InMemory<Buffer>) -> Value {
    json!({
        "address": buffer.address,
        "type": buffer.type_name,
        "bytes": buffer.bytes,
        "resident_bytes": resident,
        "holder": buffer.holder.as_ref().map(holder),
    })
}

fn container(container: &Container) -> Value {
    json!({
        "address": container.address,
        "type": container.type_name,
        "length": container.length,
        "bytes": container.bytes,
        "holder": container.holder.as_ref().map(holder),
    })
}

fn holder(holder: &Holder) -> Value {
    let (kind, function, file, thread) = match &holder.root {
        Root::Local { function, file, thread } => {
            ("local", Some(function), Some(file), Some(*thread))
        }
        Root::Module => ("module", None, None, None),
        Root::Object => ("object", None, None, None),
    };
    json!({ "kind": kind, "path": holder.path, "function": function, "file": file,
        "thread": thread })
}

/// Shared memory by segment.
pub(super) fn shared(segments: &[Segment]) -> Value {
    let segments = segments.iter().map(|segment| {
        json!({
            "name": segment.name,
            "resident_bytes": segment.resident,
            "exact": segment.exact,
        })
    });
    segments.collect()
}
