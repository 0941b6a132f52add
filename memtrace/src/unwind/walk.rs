//! Walks the functions that call frame information describes and lays their rows out in order.

use std::ops::Range;

use gimli::{
    BaseAddresses, DebugFrame, EhFrame, EndianSlice, Error, FrameDescriptionEntry, LittleEndian,
    Reader as _, Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindSection,
    UnwindTableRow, X86_64,
};

use super::{
    MAX_ROWS, Row, UnwindTable,
    dictionary::Dictionary,
    object::{Frames, Object},
    rule,
};

/// Functions may lie this many bytes apart, filled with `nop`, without a row for the gap.
const MAX_PADDING: u64 = 15;
/// The instructions common to many functions run anew for each; compilers write about 20 bytes.
const MAX_COMMON_LENGTH: usize = 256;

type Slice<'data> = EndianSlice<'data, LittleEndian>;
type Function<'data> = FrameDescriptionEntry<Slice<'data>>;

/// Room for the sixteen registers, the return address and the vector registers of foreign ABIs.
struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 40];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

/// The rows of one function: a run of [`Walk::rows`] that is never empty.
struct Span {
    end: u64,
    first: u32,
    count: u32,
}

impl Span {
    fn rows<'rows>(&self, rows: &'rows [Row]) -> &'rows [Row] {
        &rows[self.first as usize..][..self.count as usize]
    }
}

/// Why a function has no rows.
enum Skip {
    /// It covers no code, as functions that the linker dropped.
    NoCode,
    /// Its description is malformed or over a limit.
    Malformed,
}

impl From<Error> for Skip {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}

/// A table in the making.
pub(super) struct Walk<'object, 'data> {
    object: &'object Object<'data>,
    context: UnwindContext<usize, Storage>,
    dictionary: Dictionary,
    rows: Vec<Row>,
    spans: Vec<Span>,
    /// Rows looked at, whether kept or equal to the one before: bounds the time a file takes.
    visited: usize,
    skipped: u32,
}

impl<'object, 'data> Walk<'object, 'data> {
    pub(super) fn new(object: &'object Object<'data>) -> Self {
        Self {
            object,
            context: UnwindContext::new_in(),
            dictionary: Dictionary::new(),
            rows: Vec::new(),
            spans: Vec::new(),
            visited: 0,
            skipped: 0,
        }
    }

    pub(super) fn eh_frame(&mut self, frames: &Frames<'_>) {
        let section = EhFrame::new(&frames.bytes, LittleEndian);
        // A terminator ends the section; behind it may lie what is no call frame information.
        for (offset, _) in entries(&frames.bytes).take_while(|&(_, length)| length != 0) {
            self.add(&section, &frames.bases, offset.into());
        }
    }

    pub(super) fn debug_frame(&mut self, frames: &Frames<'_>) {
        let mut section = DebugFrame::new(&frames.bytes, LittleEndian);
        section.set_address_size(8);
        for (offset, _) in entries(&frames.bytes).filter(|&(_, length)| length != 0) {
            self.add(&section, &frames.bases, offset.into());
        }
    }

    /// Functions in the order of their addresses; where two overlap, the later one begins.
    pub(super) fn finish(mut self) -> UnwindTable {
        let mut table = Vec::with_capacity(self.rows.len() + self.rows.len() / 8);
        self.spans.sort_by_key(|span| self.rows[span.first as usize].address);
        let mut end = None;
        for span in &self.spans {
            let rows = span.rows(&self.rows);
            close_gap(&mut table, end, rows[0].address);
            for &row in rows {
                push(&mut table, row);
            }
            end = Some(span.end);
        }
        close_gap(&mut table, end, u64::MAX);
        UnwindTable { rules: self.dictionary.into_rules(), rows: table, skipped: self.skipped }
    }

    /// Adds the entry at this offset if it describes a function.
    fn add<'frames, S>(&mut self, section: &S, bases: &BaseAddresses, offset: S::Offset)
    where
        S: UnwindSection<Slice<'frames>>,
    {
        let partial = match section.partial_fde_from_offset(bases, offset) {
            Ok(partial) => partial,
            Err(Error::NotCiePointer(_)) => return,
            Err(_) => return self.skipped = self.skipped.saturating_add(1),
        };
        let first = self.rows.len();
        let added = partial
            .parse(S::cie_from_offset)
            .map_err(Skip::from)
            .and_then(|function| self.add_function(section, bases, &function));
        if let Err(skip) = added {
            self.rows.truncate(first);
            self.skipped = self.skipped.saturating_add(matches!(skip, Skip::Malformed).into());
        }
    }

    fn add_function<'frames, S>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        function: &Function<'frames>,
    ) -> Result<(), Skip>
    where
        S: UnwindSection<Slice<'frames>>,
    {
        let first = self.rows.len();
        let start = function.initial_address();
        let end = start.checked_add(function.len()).ok_or(Skip::Malformed)?;
        let addresses = start..end;
        if addresses.is_empty() || !self.object.has_code(&addresses) {
            return Err(Skip::NoCode);
        }
        if function.is_signal_trampoline() || self.object.is_trampoline(&addresses) {
            let rule = self.dictionary.number(rule::SIGNAL);
            self.rows.push(Row { address: start, rule });
        } else {
            self.add_rows(section, bases, function, &addresses)?;
        }
        // Each function may need one more row, for the gap behind it.
        if self.rows.len() + self.spans.len() >= MAX_ROWS {
            return Err(Skip::Malformed);
        }
        let count = (self.rows.len() - first) as u32;
        self.spans.push(Span { end, first: first as u32, count });
        Ok(())
    }

    fn add_rows<'frames, S>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        function: &Function<'frames>,
        addresses: &Range<u64>,
    ) -> Result<(), Skip>
    where
        S: UnwindSection<Slice<'frames>>,
    {
        let common = function.cie();
        let usual = common.return_address_register() == X86_64::RA
            && common.entry_len() <= MAX_COMMON_LENGTH;
        if !usual {
            return Err(Skip::Malformed);
        }
        let first = self.rows.len();
        let mut rows = function.rows(section, bases, &mut self.context)?;
        while let Some(row) = rows.next_row()? {
            if row.start_address() >= addresses.end {
                break;
            }
            self.visited += 1;
            if self.visited > MAX_ROWS {
                return Err(Skip::Malformed);
            }
            let rule = self.dictionary.number(rule::of(section, row));
            if self.rows[first..].last().is_none_or(|last| last.rule != rule) {
                self.rows.push(Row { address: row.start_address(), rule });
            }
        }
        Ok(())
    }
}

/// Offset and length of each entry, as far as the lengths are sound.
fn entries(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let mut rest = Slice::new(bytes, LittleEndian);
    std::iter::from_fn(move || {
        let offset = bytes.len() - rest.len();
        let (length, _) = rest.read_initial_length().ok()?;
        rest.skip(length).ok()?;
        Some((offset, length))
    })
}

/// Ends the previous function, which the next one may overlap.
fn close_gap(table: &mut Vec<Row>, end: Option<u64>, next: u64) {
    let Some(end) = end else { return };
    while table.last().is_some_and(|last| last.address >= next) {
        table.pop();
    }
    if next.saturating_sub(end) > MAX_PADDING {
        push(table, Row { address: end, rule: Dictionary::UNKNOWN });
    }
}

/// Appends a row at or behind the last one.
fn push(table: &mut Vec<Row>, row: Row) {
    if table.last().is_some_and(|last| last.address == row.address) {
        table.pop();
    }
    if table.last().is_none_or(|last| last.rule != row.rule) {
        table.push(row);
    }
}
