//! Unwind tables and mappings as the kernel programs read them: flat arrays that are filled
//! through shared memory, since a system call per row would take seconds.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    maps::{Array, Map, MapData},
};
use memtrace_abi::{
    mapping::{Mapping, Run, Table},
    unwind::{PAGE_BITS, Rule, pack_row},
};

use super::{memory::SharedArray, take};
use crate::unwind::UnwindTable;

/// The arrays, and how far they are filled.
pub(super) struct Tables {
    rows: SharedArray<u32>,
    rows_used: usize,
    pages: SharedArray<u64>,
    pages_used: usize,
    rules: SharedArray<Rule>,
    rule_numbers: HashMap<Rule, u16>,
    by_object: Array<MapData, Table>,
    mappings: Array<MapData, Mapping>,
    runs: Runs,
    /// Of the run that was written last.
    run_number: u32,
}

/// There was no room for an object's table: stacks end at its code.
#[derive(Debug)]
pub struct Full;

impl Tables {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self> {
        let mappings: Array<MapData, Mapping> = take(ebpf, "MAPPINGS")?;
        Ok(Self {
            rows: shared(ebpf, "ROWS", 2)?,
            rows_used: 0,
            pages: shared(ebpf, "PAGES", 1)?,
            pages_used: 0,
            rules: shared(ebpf, "RULES", 1)?,
            rule_numbers: HashMap::new(),
            by_object: take(ebpf, "TABLES")?,
            runs: Runs::new(mappings.len()),
            run_number: 0,
            mappings,
        })
    }

    /// Adds the table of an object that is not there yet.
    pub(super) fn add(&mut self, object: u32, table: &UnwindTable) -> Result<(), Full> {
        let (Some(first), Some(last)) = (table.rows.first(), table.rows.last()) else {
            return Ok(());
        };
        let first_page = (first.address >> PAGE_BITS) as u32;
        let page_count = ((last.address >> PAGE_BITS) as u32).wrapping_sub(first_page) + 1;
        let pages_end = self.pages_used + page_count as usize + 1;
        if self.rows_used + table.rows.len() > self.rows.len() || pages_end > self.pages.len() {
            return Err(Full);
        }
        let rules = self.rule_numbers(&table.rules).ok_or(Full)?;
        self.fill_pages(table, first_page, page_count);
        for row in &table.rows {
            let rule = rules.get(usize::from(row.rule)).copied().ok_or(Full)?;
            self.rows.set(self.rows_used, pack_row(row.address, rule));
            self.rows_used += 1;
        }
        let pages = self.pages_used as u32;
        self.pages_used = pages_end;
        let entry = Table { pages, page_count, first_page, reserved: 0 };
        self.by_object.set(object, entry, 0).map_err(|_| Full)
    }

    /// The kernel's numbers for the rules of one table.
    fn rule_numbers(&mut self, rules: &[Rule]) -> Option<Vec<u16>> {
        let mut numbers = Vec::with_capacity(rules.len());
        for rule in rules {
            numbers.push(self.rule_number(*rule)?);
        }
        Some(numbers)
    }

    /// The kernel's number for a rule; `None` if it has no room for another one.
    fn rule_number(&mut self, rule: Rule) -> Option<u16> {
        if let Some(number) = self.rule_numbers.get(&rule) {
            return Some(*number);
        }
        let next = self.rule_numbers.len();
        let number = u16::try_from(next).ok().filter(|_| next < self.rules.len())?;
        self.rules.set(next, rule);
        self.rule_numbers.insert(rule, number);
        Some(number)
    }

    fn fill_pages(&mut self, table: &UnwindTable, first_page: u32, page_count: u32) {
        let mut row = 0;
        for page in 0..=page_count {
            let start = u64::from(first_page + page) << PAGE_BITS;
            row += table.rows[row..].partition_point(|row| row.address < start);
            self.pages.set(self.pages_used + page as usize, (self.rows_used + row) as u64);
        }
    }

    /// Writes the mappings of a process, sorted, and returns the word that names the run.
    pub(super) fn write_mappings(&mut self, slot: u32, mappings: &[Mapping]) -> Result<u64> {
        let run = self.runs.place(slot, mappings.len());
        let run = run.context("no room for the process's mappings")?;
        for (index, mapping) in mappings.iter().enumerate() {
            self.mappings
                .set(u32::from(run.first) + index as u32, mapping, 0)
                .context("write a mapping")?;
        }
        self.run_number = self.run_number.wrapping_add(1).max(1);
        Ok(run.pack(self.run_number))
    }

    /// Lets a process have the run that this word names, which is another's.
    pub(super) fn adopt_mappings(&mut self, slot: u32, run: u64) {
        self.runs.adopt(slot, Run::unpack(run));
    }

    /// Gives up the run of a process.
    pub(super) fn forget_mappings(&mut self, slot: u32) {
        self.runs.used.remove(&slot);
    }

    /// Rows used, and room for rows.
    pub(super) fn row_usage(&self) -> (usize, usize) {
        (self.rows_used, self.rows.len())
    }
}

fn shared<T: aya::Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    values_per_entry: usize,
) -> Result<SharedArray<T>> {
    let map = ebpf.take_map(name).with_context(|| format!("no map {name} in the object"))?;
    let Map::Array(data) = map else { anyhow::bail!("map {name} is not an array") };
    SharedArray::open(&data, values_per_entry).with_context(|| format!("map {name} into memory"))
}

/// Which part of the mappings array belongs to which process. A run that is given up is used again
/// as late as possible, because a program may still be reading it.
struct Runs {
    size: u32,
    next: u32,
    used: HashMap<u32, (u32, u32)>,
}

impl Runs {
    fn new(size: u32) -> Self {
        Self { size, next: 0, used: HashMap::new() }
    }

    fn place(&mut self, slot: u32, length: usize) -> Option<Run> {
        let length = u16::try_from(length).ok()?;
        let wanted = u32::from(length);
        let start = self.free_from(self.next, wanted).or_else(|| self.free_from(0, wanted))?;
        self.next = start + wanted;
        let run = Run { first: u16::try_from(start).ok()?, length };
        self.adopt(slot, run);
        Some(run)
    }

    fn adopt(&mut self, slot: u32, run: Run) {
        self.used.insert(slot, (run.first.into(), run.length.into()));
    }

    /// The first place at or behind `start` that no process uses.
    fn free_from(&self, start: u32, length: u32) -> Option<u32> {
        let mut runs: Vec<_> = self.used.values().copied().collect();
        runs.sort_unstable();
        let mut candidate = start;
        for (used, used_length) in runs {
            if used < candidate.checked_add(length)? && candidate < used + used_length {
                candidate = used + used_length;
            }
        }
        (candidate.checked_add(length)? <= self.size).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_never_overlap_and_are_reused_late() {
        let mut runs = Runs::new(100);
        let mut first = |slot, length| runs.place(slot, length).map(|run| run.first);
        assert_eq!(first(1, 40), Some(0));
        assert_eq!(first(2, 40), Some(40));
        assert_eq!(first(1, 20), Some(80), "not the old run, which may still be read");
        assert_eq!(first(1, 30), Some(0));
        assert_eq!(first(3, 40), None);
    }
}
