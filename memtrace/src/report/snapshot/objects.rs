//! Python objects by type, arrays, data frames, buffers and containers, with who holds them.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    super::units::{Count, Share, Size, Things},
    arenas,
    section::Section,
};
use crate::{
    inventory::{Array, Buffer, Coverage, DataFrame, Holder, Inventory, Owner, Spent},
    profile::printable,
    snapshot::{InMemory, PythonObjects, Snapshot},
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
    if !objects.buffers.is_empty() {
        sections.push(buffers(objects));
    }
    sections.push(containers(&objects.inventory));
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
            Spent::Time => "there was no time for more: memtrace snapshot --timeout 1m gives it",
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
    let is_complete = objects.inventory.coverage.is_complete();
    let least = if is_complete { "" } else { "at least " };
    let title = format!("NumPy arrays: {least}{}, which own {}", Count(count), Size(bytes));
    let mut section = Section::new(title, &["bytes", "resident", "array"]);
    let arrays = &objects.arrays;
    section.groups(arrays, |array| (array_name(array), array.bytes, array.holder.as_ref()));
    let listed = objects.arrays.len() as u64;
    let smaller = count.saturating_sub(listed);
    let (listed, others) = (Count(listed), Count(smaller));
    if !is_complete {
        section.remark(format!(
            "{others} of them are not listed, and there may be more; they may be larger."
        ));
    } else if smaller > 0 {
        section.remark(format!("The {listed} largest are listed; {others} smaller ones are not."));
    }
    section
}

/// Objects that are alike.
struct Group<'a> {
    name: String,
    /// Of the first.
    holder: Option<&'a Holder>,
    count: u64,
    bytes: u64,
    resident: Option<u64>,
}

impl Section {
    /// Rows of objects, of each its name, bytes and holder; those of one name that are held alike
    /// together.
    fn groups<'a, T>(
        &mut self,
        objects: &'a [InMemory<T>],
        describe: impl Fn(&'a T) -> (String, u64, Option<&'a Holder>),
    ) {
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut places = HashMap::new();
        for InMemory { object, resident } in objects {
            let (name, bytes, holder) = describe(object);
            // In `batch[3]` and `self.batch[4].data` the numbers make no difference.
            let held = holder.map(|holder| without_digits(&holder.to_string()));
            let place = *places.entry((name.clone(), held)).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Group { name, holder, count: 0, bytes: 0, resident: Some(0) });
            }
            groups[place].add(bytes, *resident);
        }
        groups.sort_by_key(|group| Reverse(group.bytes));
        for group in groups {
            self.group(group);
        }
    }

    fn group(&mut self, Group { name, holder, count, bytes, resident }: Group<'_>) {
        let resident = resident.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string());
        let more = if count > 1 && holder.is_some() { " and the like" } else { "" };
        let name = if count == 1 { name } else { format!("{} x {name}", Count(count)) };
        self.row_with([Size(bytes).to_string(), resident], name, held(holder) + more);
    }
}

impl Group<'_> {
    fn add(&mut self, bytes: u64, resident: Option<u64>) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.resident = self.resident.zip(resident).map(|(sum, bytes)| sum + bytes);
    }
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

/// What the largest of those are that were found.
fn largest(what: &str, coverage: &Coverage) -> String {
    let limit = if coverage.is_complete() { "" } else { ", as far as they were found" };
    format!("Largest {what}{limit}")
}

fn buffers(PythonObjects { inventory, buffers, .. }: &PythonObjects) -> Section {
    let title = largest("strings and buffers", &inventory.coverage);
    let mut section = Section::new(title, &["bytes", "resident", "object"]);
    section.groups(buffers, |buffer: &Buffer| {
        (printable(&buffer.type_name), buffer.bytes, buffer.holder.as_ref())
    });
    section
}

fn containers(Inventory { containers, coverage, .. }: &Inventory) -> Section {
    let title = largest("containers", coverage);
    let mut section = Section::new(title, &["bytes", "length", "container"]);
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
