//! A frame of a stack, and the one rule for how its names are shown. Names come from the target
//! and are hostile.

use serde::{Deserialize, Serialize};

use super::files::FileNames;

/// Longest name that is shown, in characters.
const MAX_NAME: usize = 200;
/// The same of a sentence, in which there may be several names.
const MAX_SENTENCE: usize = 2000;

/// A frame of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Frame {
    /// A Python function.
    Python {
        /// With its class and the functions around it.
        qualname: String,
        /// What it was executing.
        location: Location,
    },
    /// Native code.
    Native {
        /// Demangled; `None` where the module has no symbol.
        symbol: Option<String>,
        /// Path of the file it belongs to; `None` outside every file, as JIT code is.
        module: Option<String>,
        /// Within the module, as in its symbol table; in the process where there is no module.
        address: u64,
        /// Source line, where there is debug information.
        location: Option<Location>,
    },
    /// Frames are missing here.
    Gap {
        /// Why, for instance `incomplete: no unwind information`.
        reason: String,
    },
    /// There is no stack, and it is known why.
    Origin {
        /// Where the memory is from, for instance `before attach`.
        what: String,
    },
}

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// As the compiler was told: a path, or a name such as `<string>`.
    pub file: String,
    /// From 1; `None` where the compiler recorded no line.
    pub line: Option<u32>,
}

impl Frame {
    /// How the frame is shown by itself: `qualname (file.py:line)`, `symbol (module)`,
    /// `module+0x1f`, `[reason]`. See [`Profile::frame_texts`](super::Profile::frame_texts).
    #[must_use]
    pub fn text(&self) -> String {
        self.text_among(&FileNames::default())
    }

    /// How the frame is shown among others.
    pub(super) fn text_among(&self, files: &FileNames) -> String {
        match self {
            Self::Python { qualname, location } => {
                format!("{} ({})", printable(qualname), location.text(files))
            }
            Self::Native { symbol: Some(symbol), module, .. } => {
                let module = module.as_deref().unwrap_or("no file");
                format!("{} ({})", printable(symbol), files.name(module))
            }
            Self::Native { symbol: None, module: Some(module), address, .. } => {
                format!("{}+{address:#x}", files.name(module))
            }
            Self::Native { symbol: None, module: None, address, .. } => format!("{address:#x}"),
            Self::Gap { reason: text } | Self::Origin { what: text } => {
                format!("[{}]", printable(text))
            }
        }
    }

    /// Python's or native code's name for the frame, without where it is.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Python { qualname: name, .. } | Self::Native { symbol: Some(name), .. } => {
                printable(name)
            }
            _ => self.text(),
        }
    }
}

impl Location {
    /// `file.py:line`.
    fn text(&self, files: &FileNames) -> String {
        let file = files.name(&self.file);
        self.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
    }
}

/// A name made safe to show in a line of text, whatever the target called itself.
///
/// `;` separates frames and becomes `:`; characters that move the cursor, hide or reorder text,
/// or are not allowed in XML are escaped; a leading `#` would start a comment in folded stacks;
/// long names are cut.
#[must_use]
pub fn printable(name: &str) -> String {
    shown(name, MAX_NAME)
}

/// As [`printable`], of a sentence with names in it.
#[must_use]
pub fn printable_sentence(sentence: &str) -> String {
    shown(sentence, MAX_SENTENCE)
}

fn shown(name: &str, limit: usize) -> String {
    let mut shown = String::new();
    let mut length = 0;
    for (index, character) in name.trim().chars().enumerate() {
        let part = printable_character(character, index);
        length += part.chars().count();
        if length > limit {
            return cut(&shown, limit);
        }
        shown.push_str(&part);
    }
    if shown.is_empty() { "?".into() } else { shown }
}

fn printable_character(character: char, index: usize) -> String {
    match character {
        ';' => ":".into(),
        '#' if index == 0 => "\\#".into(),
        _ if character.is_control() || is_invisible(character) => {
            character.escape_default().to_string()
        }
        _ => character.into(),
    }
}

/// Zero-width and direction marks, line separators, and what XML 1.0 forbids.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
        | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn cut(name: &str, limit: usize) -> String {
    name.chars().take(limit - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn python(qualname: &str, file: &str, line: Option<u32>) -> Frame {
        let location = Location { file: file.into(), line };
        Frame::Python { qualname: qualname.into(), location }
    }

    fn native(symbol: Option<&str>, module: Option<&str>) -> Frame {
        let [symbol, module] = [symbol, module].map(|name| name.map(Into::into));
        Frame::Native { symbol, module, address: 0x1f, location: None }
    }

    #[test]
    fn frames_show_what_they_are_and_where() {
        let radar = python("Radar.grid", "/srv/radar/grid.py", Some(193));
        assert_eq!(radar.text(), "Radar.grid (grid.py:193)");
        assert_eq!(python("<module>", "<string>", None).text(), "<module> (<string>)");
        let package = python("<module>", "/lib/numpy/__init__.py", Some(1));
        assert_eq!(package.text(), "<module> (numpy/__init__.py:1)");
        assert_eq!(python("f", "__init__.py", Some(1)).text(), "f (__init__.py:1)");
        assert_eq!(
            native(Some("PyList_New"), Some("/usr/bin/python3.11")).text(),
            "PyList_New (python3.11)"
        );
        let umath = "/x/_multiarray_umath.cpython-311-x86_64-linux-gnu.so";
        assert_eq!(native(None, Some(umath)).text(), "_multiarray_umath.so+0x1f");
        assert_eq!(native(None, None).text(), "0x1f");
        assert_eq!(native(Some("f"), None).text(), "f (no file)");
        let gap = Frame::Gap { reason: "incomplete: no unwind information".into() };
        assert_eq!(gap.text(), "[incomplete: no unwind information]");
    }

    #[test]
    fn hostile_names_stay_on_their_line() {
        assert_eq!(printable("a;b\nc\x1b[31m"), "a:b\\nc\\u{1b}[31m");
        assert_eq!(printable("exe\u{202e}cod\u{ffff}"), "exe\\u{202e}cod\\u{ffff}");
        assert_eq!(printable("# comment"), "\\# comment");
        assert_eq!(printable(" \n "), "?");
        assert_eq!(printable("größe λ"), "größe λ");
    }

    #[test]
    fn long_names_are_cut_at_the_limit() {
        assert_eq!(printable(&"x".repeat(MAX_NAME)).len(), MAX_NAME);
        let long = printable(&"\0".repeat(10_000));
        assert!(long.chars().count() <= MAX_NAME && long.ends_with('…'), "{long}");
    }
}
