//! The part of the page that is about heaps, arena by arena.

use std::cmp::Reverse;

use super::{
    super::{
        text::escape,
        units::{Count, Size},
    },
    table,
};
use crate::profile::{Arena, Heap, Process, Profile, printable};

const COLUMNS: [&str; 9] =
    ["size", "live", "blocks", "free", "resident", "pinned", "trimmable", "kept", "arena"];

/// Where the memory of each heap is that was looked at; what could be done is among the caveats.
pub(super) fn heaps(profile: &Profile) -> String {
    let heaps =
        profile.processes.iter().filter_map(|process| Some((process, process.heap.as_ref()?)));
    heaps.map(|(process, heap)| one(process, heap)).collect()
}

fn one(process: &Process, heap: &Heap) -> String {
    let title = format!("Heap of {}, by arena", escape(&process.text()));
    let mut arenas: Vec<&Arena> = heap.arenas.iter().filter(|arena| arena.size > 0).collect();
    arenas.sort_by_key(|arena| Reverse(arena.resident));
    table(&title, &COLUMNS, arenas.into_iter().map(cells))
}

fn cells(arena: &Arena) -> Vec<String> {
    let size = |bytes: u64| Size(bytes).to_string();
    vec![
        size(arena.size),
        size(arena.live),
        Count(arena.blocks).to_string(),
        size(arena.free),
        size(arena.resident),
        size(arena.pinned),
        size(arena.trimmable),
        size(arena.kept),
        escape(&printable(&arena.name)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::example;

    #[test]
    fn each_arena_has_a_row() {
        let page = heaps(&example::profile());
        assert_eq!(page.matches("<tr>").count(), 1 + 2, "{page}");
        let main = [
            "64.0 MiB", "8.00 MiB", "1,000", "56.0 MiB", "32.0 MiB", "16.0 MiB", "8.00 MiB", "0 B",
        ];
        let main = main.map(|cell| format!("<td class=\"number\">{cell}</td>")).concat();
        assert!(page.contains(&(main + "<td class=\"name\">main arena</td>")), "{page}");
    }
}
