//! From an address to its mapping, its object's rows and the rule that finds the caller.

use aya_ebpf::{bindings::BPF_F_MMAPABLE, macros::map, maps::Array};
use memtrace_abi::{
    mapping::{Mapping, Run, SEARCH_STEPS, Table},
    process::Process,
    rule_cache::{self, Key},
    search::{exceeds, partition_point},
    unwind::{MAX_RULES, PAGE_BITS, Rule, find_row},
};

use crate::{direct::Range, given_up};

/// Executable mappings; a process has a run of them, sorted.
#[map]
static MAPPINGS: Array<Mapping> = Array::with_max_entries(1 << 16, 0);
/// Unwind tables by object number.
#[map]
static TABLES: Array<Table> = Array::with_max_entries(rule_cache::MAX_OBJECTS, 0);
/// Where the rows of each page of each object start.
#[map]
static PAGES: Array<u64> = Array::with_max_entries(1 << 16, BPF_F_MMAPABLE);
/// Rows, two to an element, the first in the low half: the kernel rounds elements up to 8 bytes.
#[map]
static ROWS: Array<u64> = Array::with_max_entries(1 << 20, BPF_F_MMAPABLE);
/// The rules that rows refer to.
#[map]
static RULES: Array<Rule> = Array::with_max_entries(MAX_RULES, BPF_F_MMAPABLE);

/// Where an address of this page was found last: a place to look first, which may be wrong.
#[map]
static HINTS: Array<u32> = Array::with_max_entries(1 << HINT_BITS, 0);
/// The rules that were found last; see [`rule_cache`].
#[map]
static RULE_CACHE: Array<u64> = Array::with_max_entries(rule_cache::ENTRIES, 0);

const HINT_BITS: u32 = 12;
/// No mapping, no rule.
const NONE: u32 = u32::MAX;

/// The mapping that holds an address of the process.
pub(crate) fn find_mapping(process: &Process, slot: u32, pc: u64) -> Option<Mapping> {
    mapping_with(find_mapping_index(process, slot, pc), pc)
}

/// Not inlined: the programs' stacks are small.
#[inline(never)]
fn find_mapping_index(process: &Process, slot: u32, pc: u64) -> u32 {
    if given_up::holds(process, slot, pc) {
        return NONE;
    }
    let run = process.mappings;
    let (first, end) = bounds(run);
    let page = (pc >> PAGE_BITS ^ run).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let Some(hint) = HINTS.get_ptr_mut((page >> (u64::BITS - HINT_BITS)) as u32) else {
        return NONE;
    };
    // SAFETY: a map value, one aligned word; any value will do.
    let index = unsafe { hint.read_volatile() };
    if first <= index && index < end && mapping_with(index, pc).is_some() {
        return index;
    }
    let index = search_mapping((first, end), pc);
    // SAFETY: as above.
    unsafe { hint.write_volatile(index) };
    index
}

/// Whether any code of the process lies in a range, as far as its mappings are known.
pub(crate) fn has_code(process: &Process, range: &Range) -> bool {
    let end = range.start.wrapping_add(range.size);
    let index = search_mapping(bounds(process.mappings), end.wrapping_sub(1));
    MAPPINGS.get(index).is_some_and(|mapping| mapping.end > range.start)
}

/// Where a run begins in the array, and where it ends.
fn bounds(run: u64) -> (u32, u32) {
    let Run { first, length } = Run::unpack(run);
    (u32::from(first), u32::from(first) + u32::from(length))
}

/// The last mapping of a run that begins at or before an address.
fn search_mapping((first, end): (u32, u32), pc: u64) -> u32 {
    // Mappings begin at whole pages.
    let behind = |index| Some(exceeds(MAPPINGS.get(index)?.start >> 1, pc >> 1));
    match partition_point::<SEARCH_STEPS>((first, end), behind) {
        Some(next) if next > first => next - 1,
        _ => NONE,
    }
}

/// The mapping, if it holds the address.
fn mapping_with(index: u32, pc: u64) -> Option<Mapping> {
    let mapping = *MAPPINGS.get(index)?;
    (mapping.start <= pc && pc < mapping.end).then_some(mapping)
}

/// The rule for an address in an object.
pub(crate) fn find_rule(object: u32, address: u64) -> Option<Rule> {
    RULES.get(find_rule_number(object, address)).copied()
}

/// Not inlined: the programs' stacks are small.
#[inline(never)]
fn find_rule_number(object: u32, address: u64) -> u32 {
    let Some(key) = Key::new(object, address) else { return search_rule(object, address) };
    let Some(entry) = RULE_CACHE.get_ptr_mut(key.index) else { return NONE };
    // SAFETY: a map value, one aligned word; the key knows its own.
    if let Some(rule) = key.rule(unsafe { entry.read_volatile() }) {
        return u32::from(rule);
    }
    let found = search_rule(object, address);
    if let Ok(rule) = u16::try_from(found) {
        // SAFETY: as above.
        unsafe { entry.write_volatile(key.entry(rule)) };
    }
    found
}

#[inline(never)]
fn search_rule(object: u32, address: u64) -> u32 {
    search_row(object, address).map_or(NONE, u32::from)
}

fn search_row(object: u32, address: u64) -> Option<u16> {
    let table = TABLES.get(object)?;
    let page = ((address >> PAGE_BITS) as u32).wrapping_sub(table.first_page);
    if page >= table.page_count {
        return None;
    }
    let start = *PAGES.get(table.pages + page)? as u32;
    let end = *PAGES.get(table.pages + page + 1)? as u32;
    let first = *PAGES.get(table.pages)? as u32;
    // Without branches: the verifier goes through every turn of the search.
    let row_at = |index: u32| Some((ROWS.get(index / 2)? >> (index % 2 * u32::BITS)) as u32);
    find_row(address, first, (start, end), row_at)
}
