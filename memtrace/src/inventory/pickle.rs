//! What the picklers of `Modules/_pickle.c` have apart from themselves, 3.8 to 3.14. Versions differ
//! in members in the middle, so those behind are found from the end of the object.

use super::reader::Reader;

/// Of a `Pickler`: `memo`, and from the end `output_buffer`.
const PICKLER_MEMO: u64 = 16;
const OUTPUT: u64 = 88;
/// Bytes of a `PyMemoTable`, the number of its entries in it, and bytes of one.
const TABLE: u64 = 32;
const TABLE_ROOM: u64 = 16;
const TABLE_ENTRY: u64 = 16;

/// Of an `Unpickler`: `memo` with its size, and from the end `marks` with its size and three strings.
const UNPICKLER_MEMO: u64 = 24;
const MEMO_SIZE: u64 = 32;
const MARKS: u64 = 32;
const MARKS_SIZE: u64 = 16;
const STRINGS: [u64; 3] = [120, 48, 40];
/// A line that is being read may be long.
const LONGEST: usize = 1 << 16;

impl Reader<'_> {
    pub(super) fn pickler_bytes(&mut self, object: u64, basic: u64) -> Option<u64> {
        let memo = self.view.word(object.wrapping_add(PICKLER_MEMO))?;
        let output = self.view.word(object.wrapping_add(basic).wrapping_sub(OUTPUT))?;
        let mut bytes = 0_u64;
        if memo != 0 {
            let room = self.view.word(memo.wrapping_add(TABLE_ROOM))?;
            bytes = TABLE.checked_add(room.checked_mul(TABLE_ENTRY)?)?;
        }
        if output != 0 {
            let id = self.type_of(output)?;
            bytes = bytes.checked_add(self.size_of(output, id)?)?;
        }
        Some(bytes)
    }

    pub(super) fn unpickler_bytes(&mut self, object: u64, basic: u64) -> Option<u64> {
        let end = object.wrapping_add(basic);
        let mut bytes = 0_u64;
        for (pointer, size) in [
            (object.wrapping_add(UNPICKLER_MEMO), object.wrapping_add(MEMO_SIZE)),
            (end.wrapping_sub(MARKS), end.wrapping_sub(MARKS_SIZE)),
        ] {
            if self.view.word(pointer)? != 0 {
                bytes = bytes.checked_add(self.view.word(size)?.checked_mul(8)?)?;
            }
        }
        for place in STRINGS {
            let string = self.view.word(end.wrapping_sub(place))?;
            if string != 0 {
                let line = self.view.bytes(string, LONGEST);
                bytes = bytes.checked_add(line.iter().position(|byte| *byte == 0)? as u64 + 1)?;
            }
        }
        Some(bytes)
    }
}
