//! Resident memory by use, the heap of the C library, and shared memory.

use super::{
    super::{
        heap,
        resident::{self, Heaps},
        units::{Share, Size, Things},
    },
    picture,
    section::Section,
};
use crate::{
    heap::Account,
    profile::{Class, Decomposition, printable},
    snapshot::{Glibc, Snapshot, Use},
};

/// What resident memory consists of.
pub(super) fn uses(snapshot: &Snapshot) -> Section {
    Section::of("Resident memory by use", &snapshot.memory, |memory| {
        let title = format!("RSS {}, by use", Size(memory.resident));
        let mut section = Section::new(title, &["bytes", "share", "use"]);
        for part in &memory.parts {
            let (name, _) = resident::label(part.class, Heaps::default());
            let is_heap = part.class == Class::Untraced;
            let name = if is_heap { "heap and other anonymous memory" } else { name };
            section.row(sizes(part.bytes, memory.resident), name);
            if is_heap {
                heap_uses(snapshot, memory, &mut section);
            }
        }
        remainder(memory, &mut section);
        section.remarks = resident::remarks(memory);
        section
    })
}

fn heap_uses(snapshot: &Snapshot, memory: &Decomposition, section: &mut Section) {
    for usage in &snapshot.uses {
        let name = format!("  {}", label(usage.what, snapshot.glibc.read()));
        section.row(sizes(usage.bytes, memory.resident), name);
    }
}

fn label(what: Use, malloc: Option<&Glibc>) -> &'static str {
    match what {
        Use::PythonBlocks => "small Python objects, in use (pymalloc)",
        Use::PythonFree => "free in pymalloc's arenas",
        Use::PythonUnread => "pymalloc's arenas, not looked at: there was no time",
        Use::Live => "malloc, in use",
        Use::Trimmable => "malloc, free: malloc_trim(0) would return it",
        Use::Pinned => "malloc, free, on pages with something in use",
        Use::Kept => "malloc, free, on pages that malloc keeps",
        Use::Unread => "malloc's, not read: at most so much",
        Use::Rest if malloc.is_none_or(Glibc::is_cut) => {
            "not read: malloc's, mapped, or another allocator's"
        }
        Use::Rest => "not malloc's: mapped directly, or by another allocator",
    }
}

/// What no class explains.
fn remainder(memory: &Decomposition, section: &mut Section) {
    let remainder = memory.remainder();
    let [size, share] = sizes(remainder.unsigned_abs(), memory.resident);
    let sign = if remainder < 0 { "-" } else { "" };
    let name = format!("not explained: {}", resident::REMAINDER);
    section.row([format!("{sign}{size}"), share], name);
}

fn sizes(bytes: u64, total: u64) -> [String; 2] {
    [Size(bytes).to_string(), Share(bytes, total).to_string()]
}

/// The arenas of glibc's malloc.
pub(super) fn arenas(snapshot: &Snapshot) -> Section {
    let mut section = Section::of("Heap, arena by arena", &snapshot.glibc, |glibc| {
        let title = format!("Heap of glibc {}, arena by arena", printable(&glibc.version));
        let columns = &["size", "resident", "in use", "free", "trimmable", "pinned", "arena"];
        let mut section = Section::new(title, columns);
        let mut row = |of: &Account, name: String| {
            section.row(account(of, glibc.is_cut()), name);
        };
        // First, for a screen may have no room for all rows.
        row(&glibc.total, "all".to_owned());
        for (number, arena) in glibc.arenas.iter().enumerate() {
            row(&arena.account, arena.name(number));
        }
        if glibc.mapped.size > 0 {
            row(&glibc.mapped, Things(glibc.mapped.live_chunks, "own mapping").to_string());
        }
        remark(glibc, &mut section);
        section.picture = picture::draw_alone(snapshot, glibc);
        section
    });
    let rest = label(Use::Rest, snapshot.glibc.read());
    for file in &snapshot.other_allocators {
        section.remark(format!(
            "{} brings a malloc of its own: what that hands out is in no heap of glibc, but counts \
             above as \"{rest}\".",
            printable(file)
        ));
    }
    section
}

/// The cells of a row. Where there was no time for all of the heap, there may be more of each.
fn account(account: &Account, is_cut: bool) -> [String; 6] {
    let Account { size, resident, live_resident, trimmable, pinned, .. } = *account;
    let free = account.free_resident();
    let parts = [resident, live_resident, free, trimmable, pinned];
    let [resident, live, free, trimmable, pinned] = parts.map(|bytes| match (is_cut, bytes) {
        (true, 0) => "?".to_owned(),
        (true, _) => format!("≥ {}", Size(bytes)),
        (false, _) => Size(bytes).to_string(),
    });
    [Size(size).to_string(), resident, live, free, trimmable, pinned]
}

fn remark(glibc: &Glibc, section: &mut Section) {
    section.remark(
        "In use and free is what is resident of either. Of what is free, malloc_trim(0) would return \
         what is trimmable; what is pinned shares pages with blocks in use. Large blocks have \
         mappings of their own.",
    );
    section.remarks.extend(heap::advice(&glibc.advice));
    section.remarks.extend(glibc.doubts.iter().map(heap::doubt));
}

/// Shared memory by segment.
pub(super) fn shared(snapshot: &Snapshot) -> Section {
    Section::of("Shared memory, by segment", &snapshot.shared, |segments| {
        let mut section = Section::new("Shared memory, by segment", &["resident", "segment"]);
        for segment in segments {
            let inexact = if segment.exact { "" } else { "at least: not counted page by page" };
            let size = Size(segment.resident).to_string();
            section.row_with([size], printable(&segment.name), inexact.to_owned());
        }
        if segments.is_empty() {
            section.remark("None is resident.");
        }
        section
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Part;

    #[test]
    fn the_sum_is_first_and_what_is_said_of_other_allocators_names_their_row() {
        let mapped = Account { size: 4096, live_chunks: 1, ..Account::default() };
        let glibc = Glibc {
            version: "2.36".to_owned(),
            arenas: Vec::new(),
            mapped,
            total: mapped,
            advice: Vec::new(),
            doubts: Vec::new(),
        };
        let mut snapshot = Snapshot { glibc: Part::Read(glibc), ..Snapshot::default() };
        let section = arenas(&snapshot);
        let names: Vec<_> = section.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["all", "1 own mapping"]);
        snapshot.other_allocators = vec!["libjemalloc.so.2".to_owned()];
        for is_read in [true, false] {
            let row = label(Use::Rest, snapshot.glibc.read());
            assert_eq!(row.starts_with("not read"), !is_read);
            assert!(arenas(&snapshot).remarks.iter().any(|remark| remark.contains(row)));
            snapshot.glibc = Part::default();
        }
    }
}
