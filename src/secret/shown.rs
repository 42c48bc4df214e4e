//! Foreign text as it may be shown: scrubbed, on one line, and not too long.

use std::borrow::Cow;

use super::normalize::is_invisible;
use super::scrub;

/// The longest line that is printed.
pub const MAX_LINE_BYTES: usize = 4096;
/// How much of a text is looked at, for each character that may be shown of it: a secret that is cut off at the
/// end of what is looked at has to be longer than that before it counts.
const WINDOW_BYTES_PER_CHAR: usize = 16;
const MIN_WINDOW_BYTES: usize = 1024;

/// At most `max_chars` of `text`, scrubbed, on one line, everything invisible made visible.
pub fn shown(text: &str, max_chars: usize) -> String {
    shown_bytes(text.as_bytes(), max_chars)
}

/// The same of bytes, in quotes.
pub fn quoted(bytes: &[u8], max_chars: usize) -> String {
    format!("\"{}\"", shown_bytes(bytes, max_chars))
}

fn shown_bytes(bytes: &[u8], max_chars: usize) -> String {
    let bytes = bytes.trim_ascii_start();
    let window = (max_chars * WINDOW_BYTES_PER_CHAR).max(MIN_WINDOW_BYTES);
    let is_cut = bytes.len() > window;
    let text = match String::from_utf8_lossy(&bytes[..bytes.len().min(window)]) {
        // The cut may have gone through a character.
        Cow::Owned(text) if is_cut => text.trim_end_matches('\u{fffd}').to_owned(),
        text => text.into_owned(),
    };
    let mut words = scrub(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    if is_cut {
        words.push('…');
    }
    printable(&crate::failure::shortened(words, max_chars))
}

/// `text` with everything that could break a line, drive a terminal or be overlooked made visible as an escape:
/// controls, formats, directions, and blanks other than the space.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let is_other_blank = c.is_whitespace() && c != ' ';
        if is_invisible(c) || is_other_blank { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `text`, cut to `max_bytes` with an ellipsis.
pub fn capped(mut text: String, max_bytes: usize) -> String {
    const ELLIPSIS: &str = "…";
    if text.len() > max_bytes {
        text.truncate(floor(&text, max_bytes.saturating_sub(ELLIPSIS.len())));
        text.push_str(ELLIPSIS);
    }
    text
}

/// The last boundary between characters of `text` up to `at`.
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
    fn a_text_is_cut_before_it_is_looked_at() {
        assert_eq!(shown(&format!("  a\n b {}", "x".repeat(1 << 20)), 6), "a b xx…");
        assert_eq!(shown("abc", 3), "abc");
        assert_eq!(capped("äöü".to_owned(), 5), "ä…");
        assert_eq!(capped("äöü".to_owned(), 6), "äöü");
    }
}
