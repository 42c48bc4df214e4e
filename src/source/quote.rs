//! Other people's text in our one line.

use crate::error::{printable, shortened};
use crate::secret::redact_text;

/// How much of a text is shown, in characters.
const SHOWN_TEXT: usize = 200;
/// How much of a body that is no JSON is shown, in characters.
const SHOWN_BODY: usize = 80;
/// How much of a key id, or of another name of the user's, is shown, in characters.
const SHOWN_NAME: usize = 64;

/// Foreign text as it may be shown: on one line, without tokens, and not too long.
pub fn shown(text: &str) -> String {
    cut(text, SHOWN_TEXT)
}

/// A name that the user gave, in quotes.
pub fn quoted_name(name: &str) -> String {
    format!("\"{}\"", cut(name, SHOWN_NAME))
}

/// The beginning of a body that is no JSON, in quotes.
pub fn first_words(body: &[u8]) -> String {
    format!("\"{}\"", cut(&String::from_utf8_lossy(body), SHOWN_BODY))
}

fn cut(text: &str, max_chars: usize) -> String {
    // Tokens first: half a token would not be known for one.
    let text = redact_text(text);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    printable(&shortened(words, max_chars))
}
