//! Line tables of code objects: which source line an instruction belongs to. Three formats, by
//! version (`Objects/lnotab_notes.txt`, `InternalDocs/code_objects.md` of its sources).

use std::iter;

/// Bytes of a code unit, in which location tables and instructions are counted from 3.10 on.
const UNIT: i64 = 2;
/// In 3.10, the line delta of instructions that have no line.
const NO_LINE: i8 = -128;

/// The line table of one code object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineTable {
    /// Minor version of the interpreter, which decides the format.
    pub minor: u32,
    /// `co_firstlineno`.
    pub first_line: i32,
    /// `co_lnotab` up to 3.9, `co_linetable` from 3.10 on.
    pub bytes: Box<[u8]>,
    /// Whether the table goes on behind `bytes`.
    pub is_cut: bool,
}

/// Instructions in a row that have the same line, or none.
struct Entry {
    /// Bytes of instructions; the entry starts where the one before it ends.
    length: i64,
    /// Change of line to this entry.
    delta: i64,
    has_line: bool,
}

impl LineTable {
    /// The line of the instruction at a byte offset from the first. Before the first and where
    /// there is no line: the nearest line before, at last `co_firstlineno`. 0 if the entry is cut.
    #[must_use]
    pub fn line(&self, instruction: i32) -> u32 {
        let line = match self.minor {
            ..=9 => self.line_in(instruction, lnotab(&self.bytes, self.is_cut)),
            10 => self.line_in(instruction, pairs(&self.bytes)),
            _ => self.line_in(instruction, locations(self.whole_locations())),
        };
        u32::try_from(line.max(0)).unwrap_or(u32::MAX)
    }

    fn line_in(&self, instruction: i32, entries: impl Iterator<Item = Entry>) -> i64 {
        let mut running = i64::from(self.first_line);
        let mut line = running;
        let mut start = 0;
        for entry in entries {
            if start > i64::from(instruction) {
                return line;
            }
            running = running.saturating_add(entry.delta);
            if entry.has_line {
                line = running;
            }
            start += entry.length;
        }
        if self.is_cut && start <= i64::from(instruction) { 0 } else { line }
    }

    /// Without the entry that the cut went through.
    fn whole_locations(&self) -> &[u8] {
        let last = self.bytes.iter().rposition(|byte| byte & 0x80 != 0);
        let end = if self.is_cut { last.unwrap_or(0) } else { self.bytes.len() };
        &self.bytes[..end]
    }
}

/// Up to 3.9: pairs of a byte delta, then the line delta that takes effect behind it.
fn lnotab(bytes: &[u8], is_cut: bool) -> impl Iterator<Item = Entry> {
    let (pairs, _) = bytes.as_chunks();
    let last = if is_cut { 0 } else { i64::MAX / 2 };
    let lengths = pairs.iter().map(|[length, _]| i64::from(*length)).chain(iter::once(last));
    let deltas = pairs.iter().map(|[_, delta]| i64::from(delta.cast_signed()));
    lengths.zip(iter::once(0).chain(deltas)).map(|(length, delta)| Entry {
        length,
        delta,
        has_line: true,
    })
}

/// 3.10: pairs of a length in bytes and the line delta of that stretch.
fn pairs(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let (pairs, _) = bytes.as_chunks();
    pairs.iter().map(|[length, delta]| {
        let delta = delta.cast_signed();
        let has_line = delta != NO_LINE;
        let delta = if has_line { i64::from(delta) } else { 0 };
        Entry { length: i64::from(*length), delta, has_line }
    })
}

/// 3.11 and later: entries that start with a byte whose highest bit is set; four bits of form
/// and three of length follow in it.
fn locations(bytes: &[u8]) -> impl Iterator<Item = Entry> {
    let mut rest = bytes;
    iter::from_fn(move || {
        let (head, behind) = rest.split_first()?;
        let size = behind.iter().take_while(|byte| **byte & 0x80 == 0).count();
        let (body, next) = behind.split_at(size);
        rest = next;
        Some(location(*head, body))
    })
}

fn location(head: u8, body: &[u8]) -> Entry {
    let form = (head >> 3) & 15;
    let delta = match form {
        11 | 12 => i64::from(form - 10),
        13 | 14 => signed_varint(body),
        _ => 0,
    };
    Entry { length: (i64::from(head & 7) + 1) * UNIT, delta, has_line: form != 15 }
}

/// Six bits a byte, lowest first; bit 6 says that more follow, bit 0 of the number is its sign.
/// The interpreter reads 32 bits, so what lies above is dropped.
fn signed_varint(bytes: &[u8]) -> i64 {
    let mut number = 0_u32;
    for (index, byte) in (0_u32..).zip(bytes) {
        number |= u32::from(byte & 0x3f).checked_shl(6 * index).unwrap_or(0);
        if byte & 0x40 == 0 {
            break;
        }
    }
    let magnitude = i64::from(number >> 1);
    if number & 1 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// What `testdata/capture.py` writes.
    #[derive(Deserialize)]
    struct Captured {
        name: String,
        first_line: i32,
        size: i32,
        table: String,
        lines: Vec<(i32, Option<u32>)>,
    }

    impl Captured {
        fn table(&self, minor: u32) -> LineTable {
            let digits = self.table.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
            let bytes = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
            LineTable { minor, first_line: self.first_line, bytes, is_cut: false }
        }

        fn agrees(&self, minor: u32) -> bool {
            let table = self.table(minor);
            let ends = self.lines.iter().skip(1).map(|(start, _)| *start).chain([self.size]);
            let mut line = table.first_line.cast_unsigned();
            self.lines.iter().zip(ends).all(|((start, expected), end)| {
                line = expected.unwrap_or(line);
                (*start..end).all(|instruction| table.line(instruction) == line)
            })
        }
    }

    fn assert_agreement(minor: u32, captured: &str) {
        let codes: Vec<Captured> =
            captured.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(codes.len() > 12, "the capture is nearly empty");
        for code in codes {
            assert!(code.agrees(minor), "{} in 3.{minor}", code.name);
        }
    }

    #[test]
    fn lines_are_those_of_the_interpreters() {
        assert_agreement(8, include_str!("testdata/lines-3.8.jsonl"));
        assert_agreement(9, include_str!("testdata/lines-3.9.jsonl"));
        assert_agreement(10, include_str!("testdata/lines-3.10.jsonl"));
        assert_agreement(11, include_str!("testdata/lines-3.11.jsonl"));
        assert_agreement(12, include_str!("testdata/lines-3.12.jsonl"));
        assert_agreement(13, include_str!("testdata/lines-3.13.jsonl"));
        assert_agreement(14, include_str!("testdata/lines-3.14.jsonl"));
    }

    fn table(minor: u32, bytes: &[u8]) -> LineTable {
        LineTable { minor, first_line: 10, bytes: bytes.into(), is_cut: false }
    }

    #[test]
    fn before_the_first_instruction_the_function_itself_is_the_line() {
        for minor in 8..=14 {
            assert_eq!(table(minor, &[2, 5, 0xe8, 5]).line(-1), 10);
        }
    }

    #[test]
    fn instructions_without_a_line_have_the_one_before() {
        let ten = table(10, &[2, 1, 4, 0x80, 2, 3]);
        assert_eq!([0, 2, 4, 6].map(|instruction| ten.line(instruction)), [11, 11, 11, 14]);
        let twelve = table(12, &[0xf8, 0xe8, 2, 0xf8, 0xe8, 2]);
        assert_eq!([0, 2, 4, 6].map(|instruction| twelve.line(instruction)), [10, 11, 11, 12]);
    }

    #[test]
    fn behind_the_table_the_last_line_goes_on() {
        for (minor, bytes) in [(9, &[2, 5][..]), (10, &[2, 5]), (13, &[0xe8, 10])] {
            assert_eq!(table(minor, bytes).line(1 << 20), 15);
        }
    }

    #[test]
    fn behind_a_cut_no_line_is_known() {
        for (minor, bytes, lines) in [
            (9, &[4, 1, 2][..], [10, 0]),
            (10, &[4, 1, 2], [11, 0]),
            (13, &[0xd9, 1, 2, 0xe8, 0x40], [11, 0]),
            (13, &[0xe9, 2, 0x80], [11, 0]),
            (13, &[0], [0, 0]),
        ] {
            let cut = LineTable { is_cut: true, ..table(minor, bytes) };
            assert_eq!([0, 4].map(|instruction| cut.line(instruction)), lines, "{minor} {bytes:?}");
        }
    }

    #[test]
    fn oversized_numbers_saturate() {
        let down = table(11, &[0xe8, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f]);
        assert_eq!(down.line(0), 0);
        let up = LineTable { first_line: i32::MAX, ..table(9, &[0, 127].repeat(1 << 16)) };
        assert_eq!(up.line(1), i32::MAX.cast_unsigned() + (127 << 16));
    }

    proptest! {
        #[test]
        fn no_table_is_too_broken(
            minor in 0_u32..20,
            first_line: i32,
            instruction: i32,
            bytes: Vec<u8>,
            is_cut: bool,
        ) {
            let _ = LineTable { minor, first_line, bytes: bytes.into(), is_cut }.line(instruction);
        }
    }
}
