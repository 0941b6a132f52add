//! Opens a file that a process has mapped, and finds out what it means.

use std::io::{self, ErrorKind};

use anyhow::Result;

use super::Known;
use crate::{
    attach::plan::{Numbers, Plan},
    process::{
        Process,
        mappings::Mapping,
        object::{FileIdentity, Object},
    },
    python::{Runtime, Specific},
    unwind::{UnwindTable, cache::Cache},
};

/// A file, and its unwind table if that can be had. `None` for what is no ELF file, or cannot be read.
pub(super) type Understood = Option<(Known, Option<UnwindTable>)>;

/// `None` if the process has it mapped no longer, so that nobody has looked at it.
pub(super) fn understand(
    process: &Process,
    mapping: &Mapping,
    cache: Option<&Cache>,
) -> Option<Understood> {
    match process.object(mapping) {
        Ok(object) => Some(meaning(object, mapping, cache)),
        Err(error) => (!is_unmapped(&error)).then_some(None),
    }
}

/// Whether a mapping was not there, or another one was.
fn is_unmapped(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Other))
}

fn meaning(object: Object, mapping: &Mapping, cache: Option<&Cache>) -> Understood {
    if !object.is_elf() {
        return None;
    }
    let name = mapping.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut doubts = Vec::new();
    let mut doubt = |error: anyhow::Error| doubts.push(format!("{name}: {error:#}"));
    let contents = object.contents();
    let bytes = contents.whole()?;
    let table = table(&object, bytes, cache).map_err(&mut doubt).ok();
    let numbers = Numbers { object: 0, first_function: 0 };
    let plan = Plan::of(bytes, numbers).map_err(&mut doubt).unwrap_or_default();
    let runtime = Runtime::find(bytes, &name);
    let thread_specific = Specific::find(bytes);
    Some((Known { object, plan, runtime, thread_specific, doubts }, table))
}

fn table(object: &Object, bytes: &[u8], cache: Option<&Cache>) -> Result<UnwindTable> {
    let key = cache_key(object);
    if let Some(table) = cache.and_then(|cache| cache.load(&key)) {
        return Ok(table);
    }
    let table = UnwindTable::parse(bytes)?;
    // The key tells of the file as it was when it was opened.
    if let Some(cache) = cache.filter(|_| !object.is_written()) {
        // Without a cached table the next start takes longer; nothing else.
        let _ = cache.store(&key, &table);
    }
    Ok(table)
}

/// The build, and the very file: anybody can write another file with the same build id.
fn cache_key(object: &Object) -> Vec<u8> {
    let identity = object.identity().map(FileIdentity::to_bytes).unwrap_or_default();
    [object.build_id().bytes(), &identity].concat()
}
