//! What is in the kernel object, by name. The loader knows all of it: a program that nothing attaches
//! or a map that nothing uses would be a mistake.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionIndex, SymbolKind};

/// Programs that are attached while something is traced.
pub const PROGRAMS: [&str; 9] = [
    "allocation_enter",
    "allocation_return",
    "libraries_changed",
    "page_touched",
    "process_exec",
    "process_fork",
    "release_enter",
    "system_call_return",
    "thread_exit",
];

/// Programs that watch for kills.
pub const KILL_PROGRAMS: [&str; 2] = ["kill_signal", "oom_victim"];

/// Programs that look at a process without tracing it.
pub const SNAPSHOT_PROGRAMS: [&str; 2] = ["sample_thread", "thread_standings"];

/// Programs that do nothing: the cost of a probe is measured with them.
pub const EMPTY_PROGRAMS: [&str; 2] = ["empty_enter", "empty_return"];

/// Maps that the loader fills or reads.
pub const SHARED_MAPS: [&str; 31] = [
    "CAUGHT_UP",
    "CODES",
    "EVENTS",
    "FAULTS",
    "FREE_SLOTS",
    "FS_BASE_OFFSET",
    "GIVEN_UP",
    "HEAP_ENDS",
    "KILLS",
    "LIVE",
    "LOADER",
    "LOSSES",
    "MAPPINGS",
    "PAGES",
    "PAGE_EVENTS",
    "PROCESSES",
    "PROCESS_SLOTS",
    "PROCESS_TOTALS",
    "REPORTED",
    "ROWS",
    "RULES",
    "SAMPLES",
    "SAMPLE_INTERVAL",
    "SEARCHES",
    "STACKS",
    "SUBJECT",
    "TABLES",
    "TASK_OFFSETS",
    "TOTALS",
    "TO_SAMPLE",
    "VICTIM_FIELDS",
];

/// Maps that the programs have for themselves.
pub const PRIVATE_MAPS: [&str; 10] = [
    "HINTS",
    "LAST_CODE",
    "LIBRARY_CHANGES",
    "MAPPING_ENDS",
    "NEW_PROCESS",
    "NEW_THREAD",
    "NO_PROGRAMS",
    "RULE_CACHE",
    "THREADS",
    "ZERO",
];

/// The map that aya's logger reads.
pub const LOG_MAPS: [&str; 1] = ["AYA_LOGS"];

/// The names that an object file has.
#[derive(Debug, PartialEq, Eq)]
pub struct Inventory {
    /// Programs: the global functions in sections that say how they are attached.
    pub programs: BTreeSet<String>,
    /// Maps: the global objects in the section `maps`.
    pub maps: BTreeSet<String>,
}

impl Inventory {
    /// Of the embedded object.
    ///
    /// # Errors
    ///
    /// If the object is no ELF file, as where the build was told to leave it out.
    pub fn read() -> Result<Self> {
        let file = object::File::parse(super::OBJECT).context("parse the kernel object")?;
        let names = |kind, is_wanted: fn(&str) -> bool| {
            let symbols = file.symbols().filter(object::ObjectSymbol::is_global);
            let symbols = symbols.filter(|symbol| symbol.kind() == kind);
            let wanted = symbols.filter(|symbol| {
                symbol.section_index().is_some_and(|index| is_wanted(&section(&file, index)))
            });
            wanted.filter_map(|symbol| symbol.name().ok().map(str::to_owned)).collect()
        };
        Ok(Self {
            programs: names(SymbolKind::Text, |section| section != ".text"),
            maps: names(SymbolKind::Data, |section| section == "maps"),
        })
    }

    /// What the loader expects.
    #[must_use]
    pub fn known() -> Self {
        let set = |lists: &[&[&str]]| lists.concat().into_iter().map(str::to_owned).collect();
        Self {
            programs: set(&[&PROGRAMS, &KILL_PROGRAMS, &SNAPSHOT_PROGRAMS, &EMPTY_PROGRAMS]),
            maps: set(&[&SHARED_MAPS, &PRIVATE_MAPS, &LOG_MAPS]),
        }
    }
}

fn section(file: &object::File<'_>, index: SectionIndex) -> String {
    let section = file.section_by_index(index).ok();
    section.and_then(|section| section.name().ok().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `call bpf_tail_call`.
    const TAIL_CALL: [u8; 8] = [0x85, 0, 0, 0, 12, 0, 0, 0];

    /// Else they could run on a stack that another thread is using, and the kernel would kill that one.
    #[test]
    fn programs_that_can_be_preempted_have_a_tail_call() {
        let file = object::File::parse(super::super::OBJECT).expect("the object");
        let code = |name: &str| {
            let symbol = file.symbol_by_name(name).expect("a program");
            let section = file.section_by_index(symbol.section_index().expect("code")).expect("it");
            let data = section.data_range(symbol.address(), symbol.size()).expect("data");
            data.expect("within the section")
        };
        let has_tail_call = |name: &str| code(name).as_chunks().0.contains(&TAIL_CALL);
        let probes =
            ["allocation_enter", "allocation_return", "libraries_changed", "release_enter"];
        assert_eq!(probes.map(has_tail_call), [true; 4]);
        assert!(!has_tail_call("empty_enter"));
    }
}
