//! From an address to its mapping, its object's rows and the rule that finds the caller.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use memtrace_abi::{
    mapping::{Mapping, SEARCH_STEPS, Table},
    process::Process,
    search::{exceeds, partition_point},
    unwind::{MAX_RULES, PAGE_BITS, Rule, find_row},
};

/// Executable mappings; a process has a run of them, sorted.
#[map]
static MAPPINGS: Array<Mapping> = Array::with_max_entries(1 << 16, 0);
/// Unwind tables by object number.
#[map]
static TABLES: Array<Table> = Array::with_max_entries(1 << 14, 0);
/// Where the rows of each page of each object start.
#[map]
static PAGES: Array<u64> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);
/// Rows, two to an element, the first in the low half: the kernel rounds elements up to 8 bytes.
#[map]
static ROWS: Array<u64> = Array::with_max_entries(1 << 20, BPF_F_MMAPABLE);
/// The rules that rows refer to.
#[map]
static RULES: Array<Rule> = Array::with_max_entries(MAX_RULES, BPF_F_MMAPABLE);

/// The mapping that holds an address of the process.
#[inline(never)]
pub(crate) fn find_mapping_index(process: &Process, pc: u64) -> u32 {
    let first = (process.mappings >> 32) as u32;
    let end = first.wrapping_add(process.mappings as u32);
    // Mappings begin at whole pages.
    let behind = |index| Some(exceeds(MAPPINGS.get(index)?.start >> 1, pc >> 1));
    match partition_point::<SEARCH_STEPS>((first, end), behind) {
        Some(next) if next > first => next - 1,
        _ => u32::MAX,
    }
}

/// The mapping that holds an address of the process.
pub(crate) fn find_mapping(process: &Process, pc: u64) -> Option<Mapping> {
    let mapping = *MAPPINGS.get(find_mapping_index(process, pc))?;
    (mapping.start <= pc && pc < mapping.end).then_some(mapping)
}

/// The unwind table of an object; empty if it has none.
pub(crate) fn table(object: u32) -> Table {
    TABLES.get(object).copied().unwrap_or_default()
}

/// The rule for an address in an object.
pub(crate) fn find_rule(table: &Table, address: u64) -> Option<Rule> {
    let page = ((address >> PAGE_BITS) as u32).wrapping_sub(table.first_page);
    if page >= table.page_count {
        return None;
    }
    let start = *PAGES.get(table.pages + page)? as u32;
    let end = *PAGES.get(table.pages + page + 1)? as u32;
    let first = *PAGES.get(table.pages)? as u32;
    // Without branches: the verifier goes through every turn of the search.
    let row_at = |index: u32| Some((ROWS.get(index / 2)? >> (index % 2 * u32::BITS)) as u32);
    let rule = find_row(address, first, (start, end), row_at)?;
    RULES.get(u32::from(rule)).copied()
}
