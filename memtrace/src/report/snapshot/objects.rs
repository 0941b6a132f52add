//! Python objects by type, arrays, data frames and containers, with who holds them.

use std::collections::HashMap;

use super::{
    super::units::{Count, Share, Size, Things},
    arenas,
    section::Section,
};
use crate::{
    inventory::{Array, Container, Coverage, DataFrame, Holder, Inventory, Owner, Spent},
    profile::printable,
    snapshot::{ArrayUse, PythonObjects, Snapshot},
};

/// All tables of objects.
pub(super) fn sections(snapshot: &Snapshot) -> Vec<Section> {
    let objects = match &snapshot.objects {
        crate::snapshot::Part::Read(objects) => objects,
        crate::snapshot::Part::Missing(reason) => {
            return vec![Section::missing("Python objects", reason)];
        }
    };
    let mut sections = vec![types(&objects.inventory)];
    sections.extend(arenas::section(objects));
    sections.push(arrays(objects));
    if !objects.inventory.data_frames.is_empty() {
        sections.push(data_frames(&objects.inventory.data_frames));
    }
    sections.push(containers(&objects.inventory.containers));
    sections
}

fn types(inventory: &Inventory) -> Section {
    let bytes = inventory.types.iter().map(|total| total.bytes).fold(0, u64::saturating_add);
    let count = inventory.types.iter().map(|total| total.count).fold(0, u64::saturating_add);
    let title = format!("Python objects by type: {} in {}", Size(bytes), Count(count));
    let mut section = Section::new(title, &["bytes", "share", "objects", "type"]);
    for total in &inventory.types {
        let cells = [
            Size(total.bytes).to_string(),
            Share(total.bytes, bytes).to_string(),
            Count(total.count).to_string(),
        ];
        section.row(cells, printable(&total.name));
    }
    section.remarks = coverage(&inventory.coverage);
    section
}

/// What could not be looked at.
fn coverage(coverage: &Coverage) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(spent) = coverage.spent {
        let reason = match spent {
            Spent::Time => "there was no time for more: --timeout gives it",
            Spent::Bytes => "it goes on changing, and was read too often",
            Spent::Objects => "there are too many objects to follow the references of all",
        };
        remarks.push(format!(
            "Incomplete: {reason}. Large objects may be missing, and who holds what."
        ));
    }
    if coverage.failed_objects > 0 {
        let references = Things(coverage.failed_objects, "reference");
        remarks.push(format!("{references} led to what could not be read."));
    }
    if coverage.changed_references > 0 {
        let references = Things(coverage.changed_references, "reference");
        remarks.push(format!(
            "{references} changed before what they led to could be read: objects come and go."
        ));
    }
    if coverage.failed_pools > 0 {
        let (failed, pools) = (Things(coverage.failed_pools, "pool"), Count(coverage.pools));
        remarks.push(format!("{failed} of pymalloc, of {pools}, could not be read."));
    }
    remarks
}

fn arrays(objects: &PythonObjects) -> Section {
    let (count, bytes) = (objects.inventory.array_count, objects.inventory.array_bytes);
    let title = format!("NumPy arrays: {}, which own {}", Count(count), Size(bytes));
    let mut section = Section::new(title, &["bytes", "resident", "array"]);
    for alike in alike(&objects.arrays) {
        let bytes = alike.iter().map(|array| array.array.bytes).fold(0, u64::saturating_add);
        let resident = alike.iter().map(|array| array.resident).sum::<Option<u64>>();
        let resident = resident.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string());
        let name = array_name(&alike[0].array);
        let holder = alike[0].array.holder.as_ref();
        let more = if alike.len() > 1 && holder.is_some() { " and the like" } else { "" };
        let name = match alike.len() {
            1 => name,
            count => format!("{} x {name}", Count(count as u64)),
        };
        let aside = held(holder) + more;
        section.row_with([Size(bytes).to_string(), resident], name, aside);
    }
    let listed = objects.arrays.len() as u64;
    let smaller = count.saturating_sub(listed);
    if smaller > 0 {
        let (listed, smaller) = (Count(listed), Count(smaller));
        section.remark(format!("The {listed} largest are listed; {smaller} smaller ones are not."));
    }
    section
}

/// Arrays of one shape and type that are held alike, together, at the place of the first.
fn alike(arrays: &[ArrayUse]) -> Vec<Vec<&ArrayUse>> {
    let mut groups: Vec<Vec<&ArrayUse>> = Vec::new();
    let mut places = HashMap::new();
    for array in arrays {
        let Array { dtype, shape, owner, holder, .. } = &array.array;
        let owner = match owner {
            Owner::Base { type_name, .. } => Some(type_name),
            Owner::Itself | Owner::Unknown => None,
        };
        // In `batch[3]` and `self.batch[4].data` the numbers make no difference.
        let holder = holder.as_ref().map(|holder| without_digits(&holder.to_string()));
        let index = *places.entry((dtype, shape, owner, holder)).or_insert(groups.len());
        match groups.get_mut(index) {
            Some(group) => group.push(array),
            None => groups.push(vec![array]),
        }
    }
    groups
}

fn without_digits(text: &str) -> String {
    text.replace(|character: char| character.is_ascii_digit(), "")
}

fn array_name(array: &Array) -> String {
    let shape: Vec<_> = array.shape.iter().map(ToString::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let owner = match &array.owner {
        Owner::Itself => String::new(),
        Owner::Base { type_name, .. } => format!(", view of a {}", printable(type_name)),
        Owner::Unknown => ", view of memory that is no object's".to_owned(),
    };
    format!("{} ({}{comma}){owner}", printable(&array.dtype), shape.join(", "))
}

fn data_frames(frames: &[DataFrame]) -> Section {
    let mut section = Section::new("pandas data frames", &["bytes", "data frame"]);
    for frame in frames {
        let dtypes = frame.dtypes.iter();
        let dtypes: Vec<_> =
            dtypes.map(|(name, count, _)| format!("{count} {}", printable(name))).collect();
        let (rows, columns) = (Things(frame.rows, "row"), Things(frame.columns, "column"));
        let name = format!("{rows}, {columns} ({})", dtypes.join(", "));
        section.row_with([Size(frame.bytes).to_string()], name, held(frame.holder.as_ref()));
    }
    section
}

fn containers(containers: &[Container]) -> Section {
    let mut section = Section::new("Largest containers", &["bytes", "length", "container"]);
    for container in containers {
        let cells = [Size(container.bytes).to_string(), Count(container.length).to_string()];
        section.row_with(cells, printable(&container.type_name), held(container.holder.as_ref()));
    }
    section
}

fn held(holder: Option<&Holder>) -> String {
    match holder {
        Some(holder) => format!("held by {}", printable(&holder.to_string())),
        None => "held by no Python object that was seen".to_owned(),
    }
}
