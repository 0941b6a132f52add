//! A code object as the kernel reports it on first sight, decoded to what a report shows.

use memtrace_abi::{event::Code, python::Python};

use super::LineTable;

/// Stands for a name that could not be read.
const UNREADABLE: &str = "[unreadable]";

/// In every object: `PyObject.ob_type`; in every `bytes`: `ob_size` and `ob_sval`; in every `str`:
/// `length` and `state`.
const TYPE: u64 = 8;
const BYTES_SIZE: u64 = 16;
const BYTES_DATA: u64 = 32;
const STRING_LENGTH: u64 = 16;
const STRING_STATE: u64 = 32;
/// Characters of a name that are read, and bytes of a line table.
const MAX_CHARACTERS: u64 = 512;
const MAX_LINES: u64 = 512 << 10;

/// A Python function, as far as reports care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeObject {
    /// Qualified name (3.11 and later) or name; printable.
    pub name: String,
    /// File name; printable.
    pub filename: String,
    /// `co_firstlineno`.
    pub first_line: u32,
    /// Lines of its instructions.
    pub lines: LineTable,
}

impl CodeObject {
    /// Decodes the kernel's report and the line table that followed it.
    #[must_use]
    pub fn decode(event: &Code, lines: &[u8]) -> Self {
        Self {
            name: text(&event.name, event.name_width, event.name_length),
            filename: text(&event.filename, event.filename_width, event.filename_length),
            first_line: u32::try_from(event.first_line).unwrap_or(0),
            lines: LineTable {
                minor: event.minor,
                first_line: event.first_line,
                bytes: lines.get(..event.lines_size as usize).unwrap_or(lines).into(),
                is_cut: lines.len() < event.lines_size as usize,
            },
        }
    }

    /// The code object at an address, through what fills a buffer from an address on or cannot;
    /// `None` if there is none.
    pub fn read(
        python: &Python,
        address: u64,
        fill: impl Fn(u64, &mut [u8]) -> Option<()>,
    ) -> Option<Self> {
        let word = |address: u64| {
            let mut bytes = [0; 8];
            fill(address, &mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        let at = |offset: u16| address.wrapping_add(offset.into());
        (word(address.wrapping_add(TYPE))? == python.code_type).then_some(())?;
        let string = |offset| read_string(python, word(at(offset))?, &fill);
        let lines = word(at(python.code_lines))?;
        let size = word(lines.wrapping_add(BYTES_SIZE))?;
        let mut table = vec![0; size.min(MAX_LINES) as usize];
        let is_read = fill(lines.wrapping_add(BYTES_DATA), &mut table).is_some();
        let mut first_line = [0; 4];
        fill(at(python.code_first_line), &mut first_line)?;
        let first_line = i32::from_le_bytes(first_line);
        Some(Self {
            name: string(python.code_name).unwrap_or_else(|| UNREADABLE.to_owned()),
            filename: string(python.code_filename).unwrap_or_else(|| UNREADABLE.to_owned()),
            first_line: u32::try_from(first_line).unwrap_or(0),
            lines: LineTable {
                minor: python.minor.into(),
                first_line,
                is_cut: !is_read || size > MAX_LINES,
                bytes: if is_read { table.into() } else { Box::default() },
            },
        })
    }

    /// Whether this is no function of anybody's: 3.13 and later put it on the stack below an
    /// `__init__` that they inline (`_Py_InitCleanup` in `Python/specialize.c`), and leave it out
    /// of tracebacks.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.lines.minor >= 13 && self.filename == "__init__" && self.name == "__init__"
    }

    /// The line of the instruction at that byte offset from the first; 0 if it is unknown.
    #[must_use]
    pub fn line(&self, instruction: i32) -> u32 {
        self.lines.line(instruction)
    }
}

/// A compact `str`, which names in code objects always are.
fn read_string(
    python: &Python,
    address: u64,
    fill: impl Fn(u64, &mut [u8]) -> Option<()>,
) -> Option<String> {
    let (mut length, mut state) = ([0; 8], [0; 4]);
    fill(address.wrapping_add(STRING_LENGTH), &mut length)?;
    fill(address.wrapping_add(STRING_STATE), &mut state)?;
    let length = u64::from_le_bytes(length);
    let state = u32::from_le_bytes(state) >> (python.string_kind_shift & 31);
    let (is_compact, is_ascii) = (state >> 3 & 1 != 0, state >> 4 & 1 != 0);
    let width = if is_compact { state & 7 } else { return None };
    let offset = if is_ascii { python.string_ascii } else { python.string_compact };
    let mut characters = vec![0; (length.min(MAX_CHARACTERS) * u64::from(width)) as usize];
    fill(address.wrapping_add(offset.into()), &mut characters)?;
    Some(text(&characters, width, u32::try_from(length).unwrap_or(u32::MAX)))
}

/// The string of that many characters of `width` bytes each, with what was cut off marked by an
/// ellipsis.
pub(crate) fn text(bytes: &[u8], width: u32, length: u32) -> String {
    let characters: fn(&[u8]) -> Option<char> = match width {
        1 => |bytes| Some(char::from(*bytes.first()?)),
        2 => |bytes| char::from_u32(u16::from_le_bytes(*bytes.first_chunk()?).into()),
        4 => |bytes| char::from_u32(u32::from_le_bytes(*bytes.first_chunk()?)),
        _ => return UNREADABLE.to_owned(),
    };
    let mut text = String::new();
    for character in bytes.chunks_exact(width as usize).take(length as usize).map(characters) {
        push_printable(&mut text, character.unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    if length as usize > bytes.len() / width as usize {
        text.push('…');
    }
    text
}

fn push_printable(text: &mut String, character: char) {
    if character.is_control() {
        text.extend(character.escape_default());
    } else {
        text.push(character);
    }
}

#[cfg(test)]
mod tests {
    use memtrace_abi::event::{MAX_FILENAME, MAX_NAME, kind};

    use super::*;

    fn event(name: &[u8], width: u32, length: u32) -> Code {
        let mut event = Code {
            kind: kind::CODE,
            process: 0,
            code: 1,
            first_line: 7,
            name_length: length,
            name_width: width,
            filename_length: 4,
            filename_width: 1,
            lines_size: 2,
            minor: 9,
            name: [0; MAX_NAME],
            filename: [0; MAX_FILENAME],
        };
        event.name[..name.len()].copy_from_slice(name);
        event.filename[..4].copy_from_slice(b"a.py");
        event
    }

    fn name(bytes: &[u8], width: u32, length: u32) -> String {
        CodeObject::decode(&event(bytes, width, length), &[]).name
    }

    #[test]
    fn strings_of_every_width_are_decoded() {
        assert_eq!(name(b"caf\xe9", 1, 4), "café");
        assert_eq!(name(&[0x42, 0x04, 0x35, 0x04], 2, 2), "те");
        assert_eq!(
            name(&[0x1d, 0xf4, 0x01, 0, 0x61, 0, 0, 0], 4, 2),
            "\u{1f41d}\u{1}".replace('\u{1}', "a")
        );
        assert_eq!(name(b"", 0, 9), UNREADABLE);
        assert_eq!(name(b"f", 3, 1), UNREADABLE);
    }

    #[test]
    fn what_the_kernel_cut_off_is_marked() {
        assert_eq!(name(&[b'n'; MAX_NAME], 1, MAX_NAME as u32), "n".repeat(MAX_NAME));
        assert_eq!(name(&[b'n'; MAX_NAME], 1, u32::MAX), format!("{}…", "n".repeat(MAX_NAME)));
        let wide = name(&[b'n', 0].repeat(MAX_NAME / 2), 2, 129);
        assert_eq!(wide, format!("{}…", "n".repeat(MAX_NAME / 2)));
    }

    #[test]
    fn lone_surrogates_and_impossible_characters_are_replaced() {
        assert_eq!(name(&[0x80, 0xdc], 2, 1), "\u{fffd}");
        assert_eq!(name(&[0xff; 4], 4, 1), "\u{fffd}");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(name(b"a\n\x1b[31m\x9b", 1, 8), "a\\n\\u{1b}[31m\\u{9b}");
    }

    #[test]
    fn lines_come_from_the_table_behind_the_event() {
        let code = CodeObject::decode(&event(b"f", 1, 1), &[4, 2]);
        assert_eq!((code.filename.as_str(), code.first_line), ("a.py", 7));
        assert_eq!((code.line(0), code.line(4)), (7, 9));
        let cut = CodeObject::decode(&event(b"f", 1, 1), &[4]);
        assert_eq!((cut.line(-1), cut.line(0)), (7, 0));
    }
}
