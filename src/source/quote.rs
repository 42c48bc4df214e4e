//! How much of other people's text is shown in our one line.

use crate::secret;

/// How much of a text is shown, in characters.
const SHOWN_TEXT: usize = 200;
/// How much of a body that is no JSON is shown, in characters.
const SHOWN_BODY: usize = 80;
/// How much of a key id, or of another name, is shown, in characters.
const SHOWN_NAME: usize = 64;

/// Foreign text as it may be shown: on one line, without secrets, and not too long.
pub fn shown(text: &str) -> String {
    secret::shown(text, SHOWN_TEXT)
}

/// A name, in quotes.
pub fn quoted_name(name: &str) -> String {
    secret::quoted(name.as_bytes(), SHOWN_NAME)
}

/// The beginning of a body that is no JSON, in quotes.
pub fn first_words(body: &[u8]) -> String {
    secret::quoted(body, SHOWN_BODY)
}
