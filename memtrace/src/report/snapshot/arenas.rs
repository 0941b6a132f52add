//! pymalloc's arenas: how full they are, and which objects keep those that are nearly empty.

use super::{
    super::units::{Count, Size, Things},
    section::Section,
};
use crate::{
    inventory::{Inventory, SparsePools},
    profile::printable,
    snapshot::{ArenaGroup, PythonObjects},
};

/// All arenas, by how full they are.
pub(super) fn section(objects: &PythonObjects) -> Option<Section> {
    let groups = objects.arenas_by_use();
    let count: u64 = groups.iter().map(|group| group.count).sum();
    let used = groups.iter().map(|group| group.used).sum();
    (count > 0).then_some(())?;
    let least = if groups.iter().all(is_read) { "" } else { "at least " };
    let title = format!(
        "Python's arenas (pymalloc): {}, {} resident, {least}{} in use",
        Count(count),
        size(groups.iter().map(|group| group.resident).sum()),
        Size(used)
    );
    let mut section = Section::new(title, &["arenas", "resident", "in use", "how full"]);
    for group in &groups {
        let used = is_read(group).then_some(group.used);
        let cells = [Count(group.count).to_string(), size(group.resident), size(used)];
        section.row_with(cells, fullness(group), keepers(group));
    }
    section.remark("An arena goes back to the system when no object in it is in use any more.");
    section.remarks.extend(pools(&objects.inventory));
    Some(section)
}

const fn is_read(group: &ArenaGroup) -> bool {
    group.percent.is_some()
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string())
}

fn fullness(group: &ArenaGroup) -> String {
    match group.percent {
        None => "not looked at: there was no time".to_owned(),
        Some((0, below)) => format!("less than {below} % of the size in use"),
        Some((least, 101)) => format!("{least} % or more of the size in use"),
        Some((least, below)) => format!("{least} to {below} % of the size in use"),
    }
}

fn keepers(group: &ArenaGroup) -> String {
    if !is_read(group) {
        return String::new();
    }
    if group.used == 0 {
        return "empty: kept for the next objects".to_owned();
    }
    kept_by(group.types.iter().map(|(name, count)| (name.as_str(), *count)))
}

/// Nothing if there are none.
fn kept_by<'a>(types: impl Iterator<Item = (&'a str, u64)>) -> String {
    let types: Vec<_> =
        types.map(|(name, count)| format!("{} {}", Count(count), printable(name))).collect();
    if types.is_empty() {
        String::new()
    } else {
        format!("kept by {} and others", types.join(", "))
    }
}

/// Which objects keep pools that are nearly empty.
fn pools(inventory: &Inventory) -> Option<String> {
    let SparsePools { count, bytes, used_bytes, types } = &inventory.sparse_pools;
    let types = types.iter().filter_map(|(of, count)| Some((inventory.types.get(*of)?, *count)));
    let kept = kept_by(types.map(|(of, count)| (of.name.as_str(), count)));
    let least = if inventory.arenas.iter().all(|arena| arena.is_read) { "" } else { "at least " };
    (*count > 0 && !kept.is_empty()).then(|| {
        format!(
            "Of their pools {least}{} are less than a quarter in use, {} of {}: {kept}. What is free there serves \
             objects of the same size only.",
            Count(*count),
            Size(*used_bytes),
            Size(*bytes)
        )
    })
}

/// The same in sentences, one for each group.
#[must_use]
pub fn sentences(objects: &PythonObjects) -> Vec<String> {
    let groups = objects.arenas_by_use().into_iter();
    let sentence = |group: ArenaGroup| {
        let kept = keepers(&group);
        format!(
            "{} of Python (pymalloc), {}: {} resident, {} in use{}{kept}.",
            Things(group.count, "arena"),
            fullness(&group),
            size(group.resident),
            size(is_read(&group).then_some(group.used)),
            if kept.is_empty() { "" } else { ", " },
        )
    };
    groups.map(sentence).chain(pools(&objects.inventory)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_an_arena_is_says_of_what() {
        let group = |percent| ArenaGroup { percent: Some(percent), ..ArenaGroup::default() };
        for percent in [(0, 10), (10, 50), (90, 101)] {
            assert!(fullness(&group(percent)).ends_with("of the size in use"));
        }
    }
}
