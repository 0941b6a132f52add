//! Shared memory by segment, each of its pages counted once, however many processes have it
//! mapped, and however often.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    time::Instant,
};

use memtrace_abi::mapping::Range;

use super::{Look, PATIENCE};
use crate::{
    process::{
        mappings::Mapping,
        memory::{Memory, PAGE_BYTES},
        residency::Residency,
    },
    profile::{Segment, User},
};

/// Segments with a name of their own; the rest is one.
const MAX_SEGMENTS: usize = 100;
/// Addresses whose pages are looked at in one question.
const STEP: u64 = 1 << 30;

/// A segment in one process.
#[derive(Clone, Debug)]
pub(super) struct SharedMapping {
    mapping: Mapping,
    /// Bytes that are in memory and shared.
    resident: u64,
}

/// Which file it is: device and inode.
type Key = (u64, u64);

/// The shared memory of a process that is in memory.
pub(super) fn shared_mappings(residency: &Residency) -> Vec<SharedMapping> {
    let shared = residency.mappings.iter().filter(|resident| resident.is_shared_memory);
    let shared = shared.map(|resident| SharedMapping {
        mapping: resident.mapping.clone(),
        resident: resident.bytes.saturating_sub(resident.anonymous),
    });
    shared.filter(|shared| shared.resident > 0).collect()
}

/// Every segment, most resident first.
pub(super) fn count(looks: &[(u32, &Look)]) -> Vec<Segment> {
    let mut groups: BTreeMap<Key, Vec<(u32, &Look, &SharedMapping)>> = BTreeMap::new();
    for (process, look) in looks {
        for shared in &look.shared {
            let key = (shared.mapping.device, shared.mapping.inode);
            groups.entry(key).or_default().push((*process, look, shared));
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut segments: Vec<_> = groups.values().map(|group| segment(group, deadline)).collect();
    segments.sort_by_key(|segment| Reverse(segment.resident));
    merge_rest(segments)
}

fn segment(group: &[(u32, &Look, &SharedMapping)], deadline: Instant) -> Segment {
    let mut users: BTreeMap<u32, u64> = BTreeMap::new();
    for (process, _, shared) in group {
        *users.entry(*process).or_default() += shared.resident;
    }
    let counted = match group {
        [(_, _, only)] => Some(only.resident),
        _ => pages_once(group, deadline),
    };
    let largest = group.iter().map(|(_, _, shared)| shared.resident).max().unwrap_or(0);
    let users = users.into_iter().map(|(process, resident)| User { process, resident });
    Segment {
        name: group.first().map(|(_, _, shared)| name(&shared.mapping)).unwrap_or_default(),
        resident: counted.unwrap_or(largest),
        exact: counted.is_some(),
        users: users.collect(),
    }
}

/// Bytes of the segment's pages that any of the mappings has in memory; `None`: that took too long.
fn pages_once(group: &[(u32, &Look, &SharedMapping)], deadline: Instant) -> Option<u64> {
    let mut pages = PageSet::default();
    for (_, look, shared) in group {
        add_pages(&mut pages, &look.process.memory(), &shared.mapping, deadline)?;
    }
    Some(pages.count() * PAGE_BYTES)
}

fn add_pages(
    pages: &mut PageSet,
    memory: &Memory,
    mapping: &Mapping,
    deadline: Instant,
) -> Option<()> {
    let Range { mut start, end } = mapping.range;
    while start < end {
        if Instant::now() >= deadline {
            return None;
        }
        let until = end.min(start.saturating_add(STEP));
        let found = memory.pages(Range { start, end: until }).ok()?;
        let first = (mapping.offset.saturating_add(start - mapping.range.start)) / PAGE_BYTES;
        let present = (first..).zip(&found);
        let present = present.filter(|(_, page)| page.is_present() && page.is_file_or_shared());
        present.for_each(|(number, _)| pages.insert(number));
        start = until;
    }
    Some(())
}

/// Numbers of pages, 64 to a word.
#[derive(Default)]
struct PageSet(HashMap<u64, u64>);

impl PageSet {
    fn insert(&mut self, page: u64) {
        *self.0.entry(page / 64).or_default() |= 1 << (page % 64);
    }

    fn count(&self) -> u64 {
        self.0.values().map(|word| u64::from(word.count_ones())).sum()
    }
}

/// What a user knows it by.
fn name(mapping: &Mapping) -> String {
    let path = mapping.path.to_string_lossy();
    let kinds = [("/memfd:", "memfd"), ("[anon_shmem:", "anonymous shared memory")];
    for (start, kind) in kinds {
        if let Some(name) = path.strip_prefix(start) {
            return format!("{kind} {}", name.strip_suffix(']').unwrap_or(name));
        }
    }
    if let Some(key) = path.strip_prefix("/SYSV") {
        // The inode of a segment is its id (ipc/shm.c).
        return format!("System V segment {}, key 0x{key}", mapping.inode);
    }
    if mapping.deleted && &*path == "/dev/zero" {
        return format!("anonymous shared memory {}", mapping.inode);
    }
    let deleted = if mapping.deleted { " (deleted)" } else { "" };
    format!("{path}{deleted}")
}

/// Keeps a bounded number of segments.
fn merge_rest(mut segments: Vec<Segment>) -> Vec<Segment> {
    let rest = segments.split_off(segments.len().min(MAX_SEGMENTS));
    if rest.is_empty() {
        return segments;
    }
    let mut users: BTreeMap<u32, u64> = BTreeMap::new();
    for user in rest.iter().flat_map(|segment| &segment.users) {
        *users.entry(user.process).or_default() += user.resident;
    }
    segments.push(Segment {
        name: format!("{} smaller segments", rest.len()),
        resident: rest.iter().map(|segment| segment.resident).sum(),
        exact: rest.iter().all(|segment| segment.exact),
        users: users.into_iter().map(|(process, resident)| User { process, resident }).collect(),
    });
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::mappings::Mappings;

    #[test]
    fn segments_have_the_names_that_users_know() {
        let name = |place: &str| {
            let line = format!("10000-20000 rw-s 00000000 00:01 98305   {place}\n");
            name(&Mappings::parse(line.as_bytes()).list[0])
        };
        assert_eq!(name("/memfd:arena 1 (deleted)"), "memfd arena 1");
        assert_eq!(name("/SYSV0000002a (deleted)"), "System V segment 98305, key 0x0000002a");
        assert_eq!(name("/dev/zero (deleted)"), "anonymous shared memory 98305");
        assert_eq!(name("[anon_shmem:pool]"), "anonymous shared memory pool");
        assert_eq!(name("/dev/shm/psm_1 (deleted)"), "/dev/shm/psm_1 (deleted)");
    }

    #[test]
    fn a_page_is_counted_once() {
        let mut pages = PageSet::default();
        [0, 1, 63, 64, 1 << 40, 64, 0].into_iter().for_each(|page| pages.insert(page));
        assert_eq!(pages.count(), 5);
    }

    #[test]
    fn small_segments_are_one() {
        let segment = |resident| Segment {
            name: String::new(),
            resident,
            exact: true,
            users: vec![User { process: 3, resident }],
        };
        let merged = merge_rest((0..MAX_SEGMENTS as u64 + 2).rev().map(segment).collect());
        assert_eq!(merged.len(), MAX_SEGMENTS + 1);
        let rest = merged.last().unwrap();
        assert_eq!((rest.resident, &*rest.name), (1, "2 smaller segments"));
        assert_eq!(rest.users, [User { process: 3, resident: 1 }]);
    }
}
