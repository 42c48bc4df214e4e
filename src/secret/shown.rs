//! Text on one line, with nothing invisible in it, and not too long.

use super::normalize::is_invisible;

/// The longest line that is printed.
pub const MAX_LINE_BYTES: usize = 4096;
/// Escapes all characters in `text` that could break a line, control a terminal or be overlooked: controls, formats,
/// directions, and whitespace other than the space.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_other_blank = c.is_whitespace() && c != ' ';
        if is_invisible(c) || is_other_blank { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `text`, cut off with an ellipsis if it is longer than `max_bytes`.
pub fn capped(mut text: String, max_bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > max_bytes {
        text.truncate(floor(&text, max_bytes.saturating_sub(ELLIPSIS.len())));
        text.push_str(ELLIPSIS);
    }
    text
}

/// The last character boundary of `text` at or before `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_made_visible() {
        assert_eq!(printable("a\nb\u{1b}[31m\0é\u{202e}"), "a\\nb\\u{1b}[31m\\u{0}é\\u{202e}");
        assert_eq!(
            printable("\u{a0}\u{200b}\u{feff}\u{ad}\u{2028}\u{e0041}"),
            "\\u{a0}\\u{200b}\\u{feff}\\u{ad}\\u{2028}\\u{e0041}"
        );
    }

    #[test]
    fn lines_are_cut_between_characters() {
        assert_eq!(capped("äöü".to_owned(), 5), "ä…");
        assert_eq!(capped("äöü".to_owned(), 6), "äöü");
    }
}
