//! Text for lines of limited width, and for XML.

/// `text` with the characters that mean something to XML and HTML replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// `text` in lines of at most `width` characters, broken between words where possible.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').flat_map(|word| pieces(word, width)) {
        let line = lines.last_mut().expect("there is always a line");
        if line.is_empty() {
            *line = word;
        } else if length(line) + 1 + length(&word) <= width {
            *line = format!("{line} {word}");
        } else {
            lines.push(word);
        }
    }
    lines
}

/// `text`, cut to `width` characters.
pub(super) fn fit(text: &str, width: usize) -> String {
    if length(text) <= width {
        return text.into();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The end of `text`, cut to `width` characters.
pub(super) fn fit_end(text: &str, width: usize) -> String {
    let count = length(text);
    if count <= width {
        return text.into();
    }
    ['…'].into_iter().chain(text.chars().skip(count + 1 - width.max(1))).collect()
}

/// In characters.
pub(super) fn length(text: &str) -> usize {
    text.chars().count()
}

fn pieces(word: &str, width: usize) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    characters.chunks(width.max(1)).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_wider_than_asked_for() {
        let text = "raise --max-stacks, then trace again";
        assert_eq!(wrap(text, 20), ["raise --max-stacks,", "then trace again"]);
        assert_eq!(wrap("a bbbbbbb c", 3), ["a", "bbb", "bbb", "b c"]);
        assert_eq!(wrap("", 10), [""]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
    }

    #[test]
    fn cut_text_says_so() {
        assert_eq!(fit("größe", 5), "größe");
        assert_eq!(fit("größer", 5), "größ…");
        assert_eq!(fit("x", 0), "…");
        assert_eq!(fit_end("größe", 5), "größe");
        assert_eq!(fit_end("größer", 5), "…ößer");
        assert_eq!(fit_end("x", 0), "…");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escape("<a href='\"'>&"), "&lt;a href=&#39;&quot;&#39;&gt;&amp;");
    }
}
