//! Unwind tables: the call frame information of an ELF file as rows that the kernel can search.
//!
//! Pure: bytes in, table out. Knows neither processes nor the kernel; only [`cache`] touches disk.

pub mod cache;
mod dictionary;
mod expression;
mod object;
mod rule;
mod walk;

#[cfg(test)]
mod tests;

use anyhow::{Context as _, Result};
use memtrace_abi::unwind::{PAGE_BITS, Rule};

use self::{object::Object, walk::Walk};

/// Rows read of one file; functions behind are counted as skipped.
pub const MAX_ROWS: usize = 16 << 20;

/// The unwind table of one ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnwindTable {
    /// The distinct rules, at most 65,535.
    pub rules: Vec<Rule>,
    /// Sorted by address, one row per address; neighbours have different rules.
    pub rows: Vec<Row>,
    /// Functions whose call frame information is malformed or over a limit.
    pub skipped: u32,
}

/// From this address up to the next row's, the rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// ELF virtual address, as in the symbol table.
    pub address: u64,
    /// Index into [`UnwindTable::rules`].
    pub rule: u16,
}

impl UnwindTable {
    /// The table of an x86-64 ELF file, or of an image such as the vDSO's; empty if the file has
    /// no call frame information.
    ///
    /// `.eh_frame` is preferred, found by its section or by `PT_GNU_EH_FRAME`; `.debug_frame` is
    /// read when there is neither. Malformed functions are skipped and counted.
    pub fn parse(elf: &[u8]) -> Result<Self> {
        let object = Object::parse(elf).context("read the headers of an ELF file")?;
        let mut walk = Walk::new(&object);
        if let Some(frames) = object.eh_frame() {
            walk.eh_frame(&frames);
        } else if let Some(frames) = object.debug_frame() {
            walk.debug_frame(&frames);
        }
        Ok(walk.finish())
    }

    /// The rule of exactly this address; `None` before the first row.
    #[must_use]
    pub fn rule_at(&self, address: u64) -> Option<Rule> {
        let behind = self.rows.partition_point(|row| row.address <= address);
        let row = self.rows.get(behind.checked_sub(1)?)?;
        self.rules.get(usize::from(row.rule)).copied()
    }

    /// The rows in runs of one 64 KiB page of addresses, with the page's number, ascending.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[Row])> {
        let page = |row: &Row| row.address >> PAGE_BITS;
        self.rows.chunk_by(move |a, b| page(a) == page(b)).map(move |rows| (page(&rows[0]), rows))
    }
}
