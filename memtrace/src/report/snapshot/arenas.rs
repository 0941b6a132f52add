//! pymalloc's arenas: how full they are, and which objects keep those that are nearly empty.

use super::{
    super::units::{Count, Size, Things},
    section::Section,
};
use crate::{
    profile::printable,
    snapshot::{ArenaGroup, PythonObjects},
};

/// All arenas, by how full they are.
pub(super) fn section(objects: &PythonObjects) -> Option<Section> {
    let groups = objects.arenas_by_use();
    let count: u64 = groups.iter().map(|group| group.count).sum();
    let used = groups.iter().map(|group| group.used).sum();
    (count > 0).then_some(())?;
    let title = format!(
        "Python's arenas (pymalloc): {}, {} resident, {} in use",
        Count(count),
        size(groups.iter().map(|group| group.resident).sum()),
        Size(used)
    );
    let mut section = Section::new(title, &["arenas", "resident", "in use", "how full"]);
    for group in &groups {
        let cells =
            [Count(group.count).to_string(), size(group.resident), Size(group.used).to_string()];
        section.row_with(cells, fullness(group), keepers(group));
    }
    section.remark("An arena goes back to the system when no object in it is in use any more.");
    Some(section)
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string())
}

fn fullness(group: &ArenaGroup) -> String {
    match group.percent {
        (0, below) => format!("less than {below} % in use"),
        (least, 101) => format!("{least} % or more in use"),
        (least, below) => format!("{least} to {below} % in use"),
    }
}

fn keepers(group: &ArenaGroup) -> String {
    let types = group.types.iter();
    let types: Vec<_> =
        types.map(|(name, count)| format!("{} {}", Count(*count), printable(name))).collect();
    if types.is_empty() {
        String::new()
    } else {
        format!("kept by {} and others", types.join(", "))
    }
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
            Size(group.used),
            if kept.is_empty() { "" } else { ", " },
        )
    };
    groups.map(sentence).collect()
}
