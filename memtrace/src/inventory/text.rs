//! Strings and other short values of a process, printable.

use super::{
    kind::Kind,
    reader::{OB_SIZE, Reader},
};
use crate::python::text;

/// Characters of a key that are shown.
const MAX_KEY: usize = 40;
/// Digits of an `int` have 30 bits each.
const DIGIT_BITS: u32 = 30;

impl Reader<'_> {
    /// The NUL-terminated string at an address, if it is not empty and ends within `limit` bytes.
    pub(super) fn c_string(&mut self, address: u64, limit: usize) -> Option<String> {
        let bytes = self.view.bytes(address, limit);
        let bytes = bytes.split(|byte| *byte == 0).next().filter(|name| name.len() < limit)?;
        let string = str::from_utf8(bytes).ok()?;
        let is_name = !string.is_empty() && !string.contains(char::is_control);
        is_name.then(|| string.to_owned())
    }

    /// The `str` at an address, with at most `limit` characters.
    pub(super) fn string(&mut self, object: u64, limit: usize) -> Option<String> {
        let id = self.type_of(object)?;
        (self.described(id).kind == Kind::Str).then_some(())?;
        self.characters(object, limit)
    }

    /// The characters of a `str`.
    pub(super) fn characters(&mut self, object: u64, limit: usize) -> Option<String> {
        let (state, length) = self.str_state(object)?;
        let width = state.width;
        let bytes =
            self.view.bytes(state.data, (limit as u64).min(length) as usize * width as usize);
        let length = length.min(u32::MAX.into()) as u32;
        Some(text(&bytes, width, length))
    }

    /// How a `str` keeps its characters, and how many they are.
    pub(super) fn str_state(&mut self, object: u64) -> Option<(StrState, u64)> {
        let frames = &self.interpreter.frames;
        let shift = frames.string_kind_shift;
        let [ascii, compact] = [frames.string_ascii, frames.string_compact].map(u64::from);
        let length = self.view.word(object.wrapping_add(16))?;
        let state = self.view.half(object.wrapping_add(32))?;
        let is_compact = state >> (shift + 3) & 1 == 1;
        let is_ascii = is_compact && state >> (shift + 4) & 1 == 1;
        let data = match (is_compact, is_ascii) {
            (true, true) => object.wrapping_add(ascii),
            (true, false) => object.wrapping_add(compact),
            _ => self.view.word(object.wrapping_add(compact))?,
        };
        let width = state >> shift & 7;
        matches!(width, 1 | 2 | 4)
            .then_some((StrState { width, is_compact, is_ascii, data }, length))
    }

    /// The key of a dict as one would write it, or its type in angle brackets.
    pub(super) fn key(&mut self, object: u64) -> String {
        let Some(id) = self.type_of(object) else { return "?".to_owned() };
        let kind = self.described(id).kind;
        let written = match kind {
            Kind::Str => self
                .characters(object, MAX_KEY)
                .map(|string| format!("'{}'", string.replace('\'', "\\'"))),
            Kind::Int => self.small_int(object).map(|value| value.to_string()),
            _ => None,
        };
        written.unwrap_or_else(|| format!("<{}>", self.described(id).name))
    }

    /// An `int` of at most two digits.
    pub(super) fn small_int(&mut self, object: u64) -> Option<i64> {
        let head = self.view.word(object.wrapping_add(OB_SIZE))?;
        let (digits, is_negative) = if self.interpreter.structures.minor >= 12 {
            // lv_tag: two bits of sign, 2 for negative, one bit, then the number of digits.
            (head >> 3, head & 3 == 2)
        } else {
            (head.cast_signed().unsigned_abs(), head.cast_signed() < 0)
        };
        let value = match digits {
            0 => 0,
            1 => u64::from(self.view.half(object.wrapping_add(24))?),
            2 => {
                let low = u64::from(self.view.half(object.wrapping_add(24))?);
                u64::from(self.view.half(object.wrapping_add(28))?) << DIGIT_BITS | low
            }
            _ => return None,
        };
        let value = value.cast_signed();
        Some(if is_negative { -value } else { value })
    }
}

/// How a `str` keeps its characters.
pub(super) struct StrState {
    /// Bytes of a character.
    pub(super) width: u32,
    /// Whether the characters follow the head.
    pub(super) is_compact: bool,
    /// Whether they are all ASCII.
    pub(super) is_ascii: bool,
    /// Address of the first character.
    pub(super) data: u64,
}

impl StrState {
    /// Bytes of so many characters and the zero behind them.
    pub(super) fn bytes(&self, length: u64) -> Option<u64> {
        length.checked_add(1)?.checked_mul(self.width.into())
    }
}
