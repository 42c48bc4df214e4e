//! Secrets: removing them from text, and from memory.
//!
//! # How text is scrubbed
//!
//! Every credential of the run is *protected* when it is read, created or received: from then on, no text that is shown
//! contains it or a part of it of 12 or more characters, in any form that a server might give it (`normalize`). Text
//! that looks like a token is replaced as well (`shapes`), in case it is a token that this program does not know.
//!
//! Only the secret part counts: the signature of a JWT and not its header and claims, the part of `gt-KEY.SECRET` after
//! the dot (the key identifies the token when it has to be deleted manually), the token in a URL and not its host. A
//! secret of fewer than 12 characters (a proxy's password) is only replaced as a whole, and only in foreign text, before
//! it becomes part of a message: it may be a word of the message, such as `http`. There, one of fewer than 8 is only
//! replaced as a separate word, because it would break up other words; one of fewer than 4 is not searched for. In the
//! output of the command, a complete token is replaced completely.
//!
//! The secrets are in one list for the whole process ([`protect`]), and not in a value that is passed around. A process
//! makes one run, and text is shown in places that belong to the whole process: the subscriber of debug events,
//! callbacks of the HTTP library, errors of parsers. A function without the list would leak silently; a global list
//! cannot be forgotten. [`Secrets`] is the same as a value, for tests.

mod lists;
mod mask;
mod normalize;
mod patterns;
mod scan;
mod shapes;
mod url;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub use mask::{MASK, Mask};
pub(crate) use normalize::is_invisible;
use patterns::{Extent, Patterns, merge};
pub use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
pub use shapes::REDACTED;
pub(crate) use shapes::is_file_name;
pub(crate) use url::{basic_credentials, redact_links, redact_reference, shown_url};
pub use url::{protect_url, redact_url};

pub(crate) use crate::sys::memory::{overwrite_variable, scrub_stack};

/// How many bytes of a text are read for each character that may be shown: part of a secret that is cut off at that
/// point must be longer than the shown text to matter.
const WINDOW_BYTES_PER_CHAR: usize = 16;
const MIN_WINDOW_BYTES: usize = 1024;
/// The longest line that is printed.
pub const MAX_LINE_BYTES: usize = 4096;

/// A set of secrets that are removed from text.
#[derive(Default)]
pub struct Secrets {
    known: Vec<SecretString>,
    /// Created at the first search: a run that shows nothing does not need them.
    patterns: Option<Arc<Patterns>>,
    /// Those of the bytes behind them, which only messages are searched for.
    decoded: Option<Patterns>,
}

impl Secrets {
    pub const fn new() -> Secrets {
        Secrets { known: Vec::new(), patterns: None, decoded: None }
    }

    pub fn protect(&mut self, secret: &str) {
        if !self.known.iter().any(|known| known.expose_secret() == secret) {
            self.known.push(SecretString::from(secret));
            (self.patterns, self.decoded) = (None, None);
        }
    }

    fn patterns(&mut self) -> &Arc<Patterns> {
        let Secrets { known, patterns, .. } = self;
        patterns.get_or_insert_with(|| Arc::new(Patterns::new(known.iter().map(ExposeSecret::expose_secret))))
    }

    fn replace(&mut self, bytes: &[u8], extent: Extent) -> Vec<u8> {
        let patterns = Arc::clone(self.patterns());
        let Secrets { known, decoded, .. } = self;
        let decoded = decoded
            .get_or_insert_with(|| Patterns::of_decoded(known.iter().map(ExposeSecret::expose_secret)));
        let found = [&*patterns, decoded].map(|of| [of.find(bytes, extent), of.find_listed(bytes, extent)]);
        replace_at(bytes, merge(found.into_iter().flatten().flatten().collect()))
    }

    /// `text` without the secrets, and without text that looks like one.
    pub fn scrub(&mut self, text: &str) -> String {
        redacted(&self.replace(text.as_bytes(), Extent::SecretPart))
    }

    /// Like [`Self::scrub`], for text that this program or the user wrote: a short secret may be an ordinary word in it.
    pub fn scrub_own(&mut self, text: &str) -> String {
        redacted(&self.replace(text.as_bytes(), Extent::LongSecretPart))
    }

    pub fn mask(&mut self) -> Mask {
        Mask::new(Arc::clone(self.patterns()))
    }

    /// `bytes` without the secrets. Complete tokens are replaced completely.
    pub fn scrub_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.replace(bytes, Extent::Whole)
    }
}

/// The secrets of this run.
static RUN: Mutex<Secrets> = Mutex::new(Secrets::new());

fn of_this_run<T>(work: impl FnOnce(&mut Secrets) -> T) -> T {
    work(&mut RUN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Adds `secret` to the secrets of this run: from now on, no text that is shown contains it.
pub fn protect(secret: &str) {
    of_this_run(|secrets| secrets.protect(secret));
}

/// As [`Secrets::scrub`], for the secrets of this run. For short text: see [`shown`].
pub fn scrub(text: &str) -> String {
    of_this_run(|secrets| secrets.scrub(text))
}

pub fn scrub_own(text: &str) -> String {
    of_this_run(|secrets| secrets.scrub_own(text))
}

/// For the output of the command.
pub fn scrub_bytes(bytes: &[u8]) -> Vec<u8> {
    of_this_run(|secrets| secrets.scrub_bytes(bytes))
}

pub fn mask() -> Mask {
    of_this_run(Secrets::mask)
}

/// A name of the user's, such as a label of the metrics: nobody writes a secret as a list of bytes there.
pub(crate) fn scrub_name(text: &str) -> String {
    let found = of_this_run(|secrets| secrets.patterns().find(text.as_bytes(), Extent::LongSecretPart));
    redacted(&replace_at(text.as_bytes(), found))
}

/// A name from a server: without the secrets of this run, but one that only looks like a token is left as it is.
pub(crate) fn scrub_known(text: &str) -> String {
    let scrubbed = of_this_run(|secrets| secrets.replace(text.as_bytes(), Extent::SecretPart));
    String::from_utf8_lossy(&scrubbed).into_owned()
}

/// A text without secrets (the replaced parts begin and end between characters), also without what looks like one.
fn redacted(scrubbed: &[u8]) -> String {
    shapes::redact(&String::from_utf8_lossy(scrubbed))
}

/// At most `max_chars` of `text`: scrubbed, on one line, with invisible characters escaped.
pub fn shown(text: &str, max_chars: usize) -> String {
    shown_bytes(text.as_bytes(), max_chars)
}

/// As [`shown`], for bytes, in quotes.
pub fn quoted(bytes: &[u8], max_chars: usize) -> String {
    format!("\"{}\"", shown_bytes(bytes, max_chars))
}

fn shown_bytes(bytes: &[u8], max_chars: usize) -> String {
    let bytes = bytes.trim_ascii_start();
    let window = (max_chars * WINDOW_BYTES_PER_CHAR).max(MIN_WINDOW_BYTES);
    let is_cut = bytes.len() > window;
    let text = match String::from_utf8_lossy(&bytes[..bytes.len().min(window)]) {
        // The cut may have split a character.
        Cow::Owned(text) if is_cut => text.trim_end_matches('\u{fffd}').to_owned(),
        text => text.into_owned(),
    };
    let words = scrub(&text).split_whitespace().collect::<Vec<_>>().join(" ");
    let mut words = redact_links(&words);
    if is_cut {
        words.push('…');
    }
    printable(&shortened(words, max_chars))
}

/// A text of ours with foreign text in it (see [`shown`]), as it may be shown: scrubbed, on one line, not too long.
pub fn clean(text: &str) -> String {
    clean_with(text, scrub_own)
}

/// The same of a text that is foreign as a whole.
pub fn clean_foreign(text: &str) -> String {
    clean_with(text, scrub)
}

fn clean_with(text: &str, scrub: fn(&str) -> String) -> String {
    /// How much of the text is processed. Text from others was cut off earlier; this limit is for bugs.
    const MAX_BYTES: usize = 4 * MAX_LINE_BYTES;
    let text = if text.len() > MAX_BYTES { &text[..floor(text, MAX_BYTES)] } else { text };
    capped(printable(&scrub(text)), MAX_LINE_BYTES)
}

/// The same of each text in a foreign JSON value.
pub fn clean_json(value: Value) -> Value {
    map_texts(value, clean_foreign)
}

pub(crate) fn map_texts(value: Value, change: fn(&str) -> String) -> Value {
    let member = |(name, value): (String, Value)| (change(&name), map_texts(value, change));
    match value {
        Value::String(text) => Value::String(change(&text)),
        Value::Array(items) => items.into_iter().map(|item| map_texts(item, change)).collect(),
        Value::Object(members) => members.into_iter().map(member).collect(),
        plain => plain,
    }
}

fn replace_at(bytes: &[u8], found: Vec<Range<usize>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    for range in found {
        out.extend_from_slice(&bytes[copied..range.start]);
        out.extend_from_slice(REDACTED.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(&bytes[copied..]);
    out
}

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
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or_default()
}

/// `text`, cut off with an ellipsis if it has more than `max_chars`.
pub fn shortened(mut text: String, max_chars: usize) -> String {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_before_it_is_looked_at() {
        assert_eq!(shown(&format!("  a\n b {}", "x".repeat(1 << 20)), 6), "a b xx…");
        assert_eq!(shown("abc", 3), "abc");
    }

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
