//! The bytes of a stored table. Whatever is decoded is checked as if an enemy had written it.
//!
//! All integers are little-endian. Header: magic, CRC-32 of all that follows it, then the numbers
//! of rules, pages and rows and of skipped functions. Then the rules, then for each 64 KiB page of
//! addresses its number and how many rows it has, then the rows, packed as the kernel keeps them.

use flate2::Crc;
use memtrace_abi::unwind::{PAGE_BITS, Rule, pack_row};

use crate::unwind::{MAX_ROWS, Row, UnwindTable, dictionary::MAX_RULES, rule};

/// The last byte is the version: of this layout, and of how rules are read from a file.
const MAGIC: [u8; 8] = *b"mtunwin\x02";
const HEADER_LENGTH: usize = 28;
const RULE_LENGTH: usize = 16;
const PAGE_LENGTH: usize = 12;
const ROW_LENGTH: usize = 4;

/// Longer files are no tables.
pub(super) const MAX_LENGTH: u64 = 96 << 20;

/// The table as bytes; `None` if it is over the limits.
pub(super) fn encode(table: &UnwindTable) -> Option<Vec<u8>> {
    let counts = [table.rules.len(), table.pages().count(), table.rows.len()];
    let [rules, pages, rows] = counts;
    let capacity = HEADER_LENGTH + rules * RULE_LENGTH + pages * PAGE_LENGTH + rows * ROW_LENGTH;
    let mut bytes = Vec::with_capacity(capacity);
    for count in counts {
        bytes.extend(u32::try_from(count).ok()?.to_le_bytes());
    }
    bytes.extend(table.skipped.to_le_bytes());
    table.rules.iter().for_each(|rule| bytes.extend(rule_bytes(rule)));
    for (page, rows) in table.pages() {
        bytes.extend(page.to_le_bytes());
        bytes.extend((rows.len() as u32).to_le_bytes());
    }
    let packed = table.rows.iter().map(|row| pack_row(row.address, row.rule));
    bytes.extend(packed.flat_map(u32::to_le_bytes));
    let crc = checksum(&bytes).to_le_bytes();
    let bytes = [&MAGIC, &crc[..], &bytes].concat();
    (bytes.len() as u64 <= MAX_LENGTH && rows <= MAX_ROWS).then_some(bytes)
}

/// The table in the bytes; `None` if anything about them is wrong.
pub(super) fn decode(bytes: &[u8]) -> Option<UnwindTable> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (crc, rest) = rest.split_first_chunk()?;
    if u32::from_le_bytes(*crc) != checksum(rest) {
        return None;
    }
    let (counts, rest) = rest.split_first_chunk::<16>()?;
    let mut counts = counts.as_chunks().0.iter().map(|count| u32::from_le_bytes(*count));
    let (rules, rest) = split::<RULE_LENGTH>(rest, counts.next()?)?;
    let (pages, rest) = split::<PAGE_LENGTH>(rest, counts.next()?)?;
    let (rows, rest) = split::<ROW_LENGTH>(rest, counts.next()?)?;
    let skipped = counts.next()?;
    let rules: Vec<Rule> = rules.iter().map(rule_from).collect();
    let sound = rest.is_empty()
        && rules.len() <= MAX_RULES
        && rows.len() <= MAX_ROWS
        && rules.iter().all(rule::is_valid);
    let rows = sound.then(|| unpack(pages, rows, rules.len()))??;
    Some(UnwindTable { rules, rows, skipped })
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// The first `count` records of `N` bytes, and the rest.
fn split<const N: usize>(bytes: &[u8], count: u32) -> Option<(&[[u8; N]], &[u8])> {
    let (records, rest) = bytes.split_at_checked((count as usize).checked_mul(N)?)?;
    Some((records.as_chunks().0, rest))
}

fn rule_bytes(rule: &Rule) -> [u8; RULE_LENGTH] {
    let mut bytes = [rule.cfa, rule.fp, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&rule.reserved.to_le_bytes());
    bytes[4..8].copy_from_slice(&rule.cfa_offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&rule.cfa_addend.to_le_bytes());
    bytes[12..].copy_from_slice(&rule.fp_offset.to_le_bytes());
    bytes
}

fn rule_from(bytes: &[u8; RULE_LENGTH]) -> Rule {
    let [cfa, fp, r0, r1, o0, o1, o2, o3, a0, a1, a2, a3, f0, f1, f2, f3] = *bytes;
    Rule {
        cfa,
        fp,
        reserved: u16::from_le_bytes([r0, r1]),
        cfa_offset: i32::from_le_bytes([o0, o1, o2, o3]),
        cfa_addend: i32::from_le_bytes([a0, a1, a2, a3]),
        fp_offset: i32::from_le_bytes([f0, f1, f2, f3]),
    }
}

/// The rows of all pages; `None` unless they ascend and their rules exist.
fn unpack(
    pages: &[[u8; PAGE_LENGTH]],
    mut packed: &[[u8; ROW_LENGTH]],
    rules: usize,
) -> Option<Vec<Row>> {
    let mut rows = Vec::with_capacity(packed.len());
    let mut next_page = 0;
    for page in pages {
        let (page, count) = page.split_first_chunk()?;
        let page = u64::from_le_bytes(*page);
        let count = u32::from_le_bytes(*count.as_array()?);
        let of_page = packed.split_off(..count as usize)?;
        if page < next_page || page >> (64 - PAGE_BITS) != 0 || of_page.is_empty() {
            return None;
        }
        rows.extend(of_page.iter().map(|packed| unpack_row(page, *packed)));
        next_page = page + 1;
    }
    let ascending = rows.is_sorted_by(|a, b| a.address < b.address);
    let known = rows.iter().all(|row| usize::from(row.rule) < rules);
    (packed.is_empty() && ascending && known).then_some(rows)
}

fn unpack_row(page: u64, packed: [u8; ROW_LENGTH]) -> Row {
    let packed = u32::from_le_bytes(packed);
    Row { address: page << PAGE_BITS | u64::from(packed >> 16), rule: packed as u16 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table() -> UnwindTable {
        let rules = vec![rule::UNKNOWN, rule::UNSUPPORTED, rule::SIGNAL];
        let row = |address, rule| Row { address, rule };
        let rows = vec![row(0x10, 1), row(0xffff, 2), row(0x5_0000, 1), row(u64::MAX, 0)];
        UnwindTable { rules, rows, skipped: 7 }
    }

    /// With the checksum put right, as an enemy would.
    fn decode_resealed(mut bytes: Vec<u8>) -> Option<UnwindTable> {
        let crc = checksum(bytes.get(12..)?).to_le_bytes();
        bytes[8..12].copy_from_slice(&crc);
        decode(&bytes)
    }

    fn is_sound(table: &UnwindTable) -> bool {
        table.rows.is_sorted_by(|a, b| a.address < b.address)
            && table.rows.iter().all(|row| usize::from(row.rule) < table.rules.len())
            && table.rules.iter().all(|rule| rule.cfa <= 9 && rule.fp <= 2 && rule.reserved == 0)
    }

    #[test]
    fn bytes_come_back_as_the_same_table() {
        assert_eq!(decode(&encode(&table()).unwrap()), Some(table()));
        let empty = UnwindTable::default();
        assert_eq!(decode(&encode(&empty).unwrap()), Some(empty));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = encode(&table()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), None, "bit {bit}");
        }
    }

    #[test]
    fn unsound_tables_with_a_right_checksum_are_refused() {
        let spoiled = |spoil: fn(&mut UnwindTable)| {
            let mut table = table();
            spoil(&mut table);
            decode(&encode(&table).unwrap())
        };
        assert_eq!(spoiled(|table| table.rows[0].rule = 3), None);
        assert_eq!(spoiled(|table| table.rows[1].address = 0x10), None);
        assert_eq!(spoiled(|table| table.rows.swap(1, 2)), None);
        assert_eq!(spoiled(|table| table.rules[0].cfa = 10), None);
        assert_eq!(spoiled(|table| table.rules[0].fp = 3), None);
        assert_eq!(spoiled(|table| table.rules[0].reserved = 1), None);
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_make_an_unsound_table(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode(&table()).unwrap();
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            prop_assert!(decode_resealed(bytes.clone()).is_none_or(|table| is_sound(&table)));
            bytes.truncate(length.index(bytes.len()));
            prop_assert!(decode_resealed(bytes).is_none_or(|table| is_sound(&table)));
        }
    }
}
