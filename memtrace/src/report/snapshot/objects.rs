//! Python objects by type, arrays, data frames and containers, with who holds them.

use super::{
    super::units::{Count, Share, Size},
    section::Section,
};
use crate::{
    inventory::{Container, Coverage, DataFrame, Holder, Inventory, Owner, Spent},
    profile::printable,
    snapshot::{ArrayUse, Objects, Snapshot},
};

/// All tables of objects.
pub(super) fn sections(snapshot: &Snapshot) -> Vec<Section> {
    let objects = match &snapshot.objects {
        crate::snapshot::Part::Read(objects) => objects,
        crate::snapshot::Part::Missing(reason) => {
            return vec![Section::missing("Python objects", reason)];
        }
    };
    let mut sections = vec![types(&objects.inventory), arrays(objects)];
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
        let limit = match spent {
            Spent::Time => "time",
            Spent::Bytes => "bytes to read",
            Spent::Objects => "objects to follow",
        };
        remarks.push(format!("Incomplete: the limit of {limit} was reached."));
    }
    if coverage.failed_objects > 0 {
        let count = Count(coverage.failed_objects);
        remarks.push(format!("{count} references led to what could not be read."));
    }
    if coverage.failed_pools > 0 {
        let (failed, pools) = (Count(coverage.failed_pools), Count(coverage.pools));
        remarks.push(format!("{failed} pools beside {pools} could not be read."));
    }
    remarks
}

fn arrays(objects: &Objects) -> Section {
    let (count, bytes) = (objects.inventory.array_count, objects.inventory.array_bytes);
    let title = format!("NumPy arrays: {}, which own {}", Count(count), Size(bytes));
    let mut section = Section::new(title, &["bytes", "resident", "array"]);
    for ArrayUse { array, resident } in &objects.arrays {
        let resident = resident.map_or_else(|| "?".to_owned(), |bytes| Size(bytes).to_string());
        let shape: Vec<_> = array.shape.iter().map(ToString::to_string).collect();
        let comma = if shape.len() == 1 { "," } else { "" };
        let owner = match &array.owner {
            Owner::Itself => String::new(),
            Owner::Base { type_name, .. } => format!(", view of a {}", printable(type_name)),
            Owner::Unknown => ", view of memory that is no object's".to_owned(),
        };
        let (dtype, shape) = (printable(&array.dtype), shape.join(", "));
        let name = format!("{dtype} ({shape}{comma}){owner}");
        section.row_with([Size(array.bytes).to_string(), resident], name, held(&array.holder));
    }
    section
}

fn data_frames(frames: &[DataFrame]) -> Section {
    let mut section = Section::new("pandas data frames", &["bytes", "data frame"]);
    for frame in frames {
        let dtypes = frame.dtypes.iter();
        let dtypes: Vec<_> =
            dtypes.map(|(name, count, _)| format!("{count} {}", printable(name))).collect();
        let (rows, columns) = (Count(frame.rows), Count(frame.columns));
        let name = format!("{rows} rows, {columns} columns ({})", dtypes.join(", "));
        section.row_with([Size(frame.bytes).to_string()], name, held(&frame.holder));
    }
    section
}

fn containers(containers: &[Container]) -> Section {
    let mut section = Section::new("Largest containers", &["bytes", "length", "container"]);
    for container in containers {
        let cells = [Size(container.bytes).to_string(), Count(container.length).to_string()];
        section.row_with(cells, printable(&container.type_name), held(&container.holder));
    }
    section
}

fn held(holder: &Option<Holder>) -> String {
    let holder =
        holder.as_ref().map(|holder| format!("held by {}", printable(&holder.to_string())));
    holder.unwrap_or_default()
}
