//! Lines of text for a screen: fitted to its width, emphasised where it can.

use super::{
    super::{
        text::{fit, fit_end, length, wrap},
        units::Count,
    },
    Screen,
};

/// Narrower screens get lines that are too long.
const MIN_WIDTH: usize = 60;
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Text that grows downwards.
pub(in crate::report) struct Page {
    width: usize,
    colour: bool,
    text: String,
}

impl Page {
    pub(in crate::report) fn new(screen: Screen) -> Self {
        let width = screen.width.max(MIN_WIDTH);
        Self { width, colour: screen.colour, text: String::new() }
    }

    pub(in crate::report) fn text(&self) -> &str {
        &self.text
    }

    pub(in crate::report) fn blank(&mut self) {
        self.push("");
    }

    pub(in crate::report) fn heading(&mut self, text: &str) {
        for line in wrap(text, self.width) {
            self.emphasise(BOLD, &line);
        }
    }

    /// A heading in one line, however long, for programs that read the line.
    pub(in crate::report) fn long_heading(&mut self, text: &str) {
        self.emphasise(BOLD, text);
    }

    /// Columns of a table, and a name of a frame that may have to be cut.
    pub(in crate::report) fn row(&mut self, columns: &str, name: &str) {
        let name = fit_frame(name, self.width - length(columns));
        self.push(&format!("{columns}{name}"));
    }

    /// A line of less importance, indented; none if there is nothing to say.
    pub(in crate::report) fn aside(&mut self, indent: usize, text: &str) {
        if !text.is_empty() {
            let text = fit_frame(text, self.width - indent);
            self.emphasise(DIM, &format!("{:indent$}{text}", ""));
        }
    }

    /// How many were left out of a table of `shown`.
    pub(in crate::report) fn more(&mut self, count: usize, shown: usize, what: &str) {
        if count > shown {
            let rest = match count - shown {
                1 => "1 more".to_owned(),
                left => format!("{} more {what}", Count(left as u64)),
            };
            self.emphasise(DIM, &format!("  and {rest}"));
        }
    }

    /// Text over several lines; `lead` opens the first, the others are indented alike.
    pub(in crate::report) fn paragraph(&mut self, text: &str, lead: &str) {
        let indent = " ".repeat(length(lead));
        for (index, line) in wrap(text, self.width - length(lead)).iter().enumerate() {
            self.push(&format!("{}{line}", if index == 0 { lead } else { &indent }));
        }
    }

    fn emphasise(&mut self, code: &str, line: &str) {
        if self.colour {
            self.push(&format!("{code}{line}{PLAIN}"));
        } else {
            self.push(line);
        }
    }

    fn push(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

/// Cuts the name before the place, and of a long place its front: `very.long.na… (file.py:3)`,
/// `f (…long_name.py:3)`. The line's number stays.
fn fit_frame(text: &str, width: usize) -> String {
    match text.rsplit_once(" (") {
        Some((name, place)) if length(text) > width && is_frame(place, width) => {
            let name = fit(name, (width / 3).max(width.saturating_sub(length(place) + 2)));
            let place = fit_end(place, width.saturating_sub(length(&name) + 2));
            format!("{name} ({place}")
        }
        _ => fit(text, width),
    }
}

/// Behind the place of a frame there is nothing.
fn is_frame(place: &str, width: usize) -> bool {
    place.ends_with(')') || length(place) + 12 < width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_cut_before_its_place() {
        assert_eq!(fit_frame("Class.method (file.py:3)", 30), "Class.method (file.py:3)");
        let cut = fit_frame("Outer.<locals>.Class.method (file.py:3)", 30);
        assert_eq!(cut, "Outer.<locals>.C… (file.py:3)".replace("C…", "Cl…"));
        assert_eq!(fit_frame("f (a-file-with-a-long-name.py:3)", 12), "f (…me.py:3)");
        let both = fit_frame("Outer.<locals>.method (a-file-with-a-long-name.py:3)", 30);
        assert_eq!(both, "Outer.<lo… (…a-long-name.py:3)");
    }
}
