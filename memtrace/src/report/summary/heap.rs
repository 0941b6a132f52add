//! The part of the summary that is about heaps, arena by arena.

use super::{
    super::units::{Share, Size},
    TOP,
    page::Page,
};
use crate::profile::{Arena, Heap, Process, Profile, printable, printable_sentence};

/// Where the memory of each heap is that was looked at.
pub(super) fn heaps(profile: &Profile, page: &mut Page) {
    for process in &profile.processes {
        if let Some(heap) = &process.heap {
            one(process, heap, page);
        }
    }
}

fn one(process: &Process, heap: &Heap, page: &mut Page) {
    page.blank();
    page.heading(&format!("Heap of {} in memory, by arena", process.text()));
    page.row("   resident  in use    pinned trimmable", "");
    let mut arenas: Vec<&Arena> = heap.arenas.iter().filter(|arena| arena.size > 0).collect();
    arenas.sort_by_key(|arena| u64::MAX - arena.resident);
    for arena in arenas.iter().take(TOP) {
        let free = arena.pinned.saturating_add(arena.trimmable).saturating_add(arena.kept);
        let used = Share(arena.resident.saturating_sub(free), arena.resident).to_string();
        let [resident, pinned, trimmable] =
            [arena.resident, arena.pinned, arena.trimmable].map(Size);
        let numbers = format!("  {resident:>9} {used:>7} {pinned:>9} {trimmable:>9}  ");
        page.row(&numbers, &printable(&arena.name));
    }
    page.more(arenas.len(), TOP, "arenas");
    for remark in &heap.remarks {
        page.paragraph(&printable_sentence(remark), "  ");
    }
}
