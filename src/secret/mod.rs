//! Secrets: what may be shown of the text around them, and what is left of them in memory.
//!
//! # How text is scrubbed
//!
//! Every credential of the run is *protected* where it is read, made or received: from then on no text that
//! is shown holds it, nor a piece of it of 12 characters or more, in any form that a server might give it
//! (`normalize`). What looks like a token is replaced as well (`shapes`), for those that nobody told us of.
//!
//! Only what is secret counts: the signature of a JWT and not its header and claims, the part of `gt-KEY.SECRET`
//! behind the dot (the key names the token where it has to be deleted by hand), a URL's token and not its host. A
//! secret of fewer than 12 characters (a proxy's password) counts as a whole; in messages, one of fewer than 8 only
//! as a word of its own, because it would take other words apart; one of fewer than 4 is not looked for. In what the
//! command writes, a token that is there as a whole is replaced as a whole.
//!
//! The secrets are in one list for the whole process ([`protect`]), and not in a value that is handed around. A
//! process makes one run, and what shows text is as wide as the process already: the subscriber of the debug events,
//! the callbacks of the HTTP library, the errors of parsers. A list that some function was not given would be a leak
//! that nobody sees; this one cannot be forgotten. [`Secrets`] is the same as a value, for tests.

mod mask;
mod normalize;
mod patterns;
mod scan;
mod shapes;
mod shown;
mod url;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

pub use mask::{MASK, Mask};
use patterns::{Extent, Patterns};
pub use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
pub use shapes::REDACTED;
pub use shown::{MAX_LINE_BYTES, capped, printable};
pub use url::{protect_url, redact_url};

pub(crate) use crate::sys::memory::{overwrite_variable, scrub_stack};

/// How much of a text is looked at, for each character that may be shown of it: a secret that is cut off at the
/// end of what is looked at has to be longer than that before it counts.
const WINDOW_BYTES_PER_CHAR: usize = 16;
const MIN_WINDOW_BYTES: usize = 1024;

/// A set of secrets, and how to keep them out of a text.
#[derive(Default)]
pub struct Secrets {
    known: Vec<SecretString>,
    /// Made when they are first looked for: a run that shows nothing has no use for them.
    patterns: Option<Arc<Patterns>>,
}

impl Secrets {
    /// None yet.
    pub const fn new() -> Secrets {
        Secrets { known: Vec::new(), patterns: None }
    }

    /// From here on, `secret` is kept out.
    pub fn protect(&mut self, secret: &str) {
        if !self.known.iter().any(|known| known.expose_secret() == secret) {
            self.known.push(SecretString::from(secret));
            self.patterns = None;
        }
    }

    fn patterns(&mut self) -> Arc<Patterns> {
        let Secrets { known, patterns } = self;
        let made = patterns
            .get_or_insert_with(|| Arc::new(Patterns::new(known.iter().map(ExposeSecret::expose_secret))));
        Arc::clone(made)
    }

    /// `text` without the secrets, and without what looks like one.
    pub fn scrub(&mut self, text: &str) -> String {
        scrub_with(&self.patterns(), text)
    }

    /// For a stream that is passed on.
    pub fn mask(&mut self) -> Mask {
        Mask::new(self.patterns())
    }

    /// `bytes` without the secrets, which are tokens as a whole here.
    pub fn scrub_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        replace(bytes, &self.patterns(), Extent::Whole, REDACTED)
    }
}

/// Those of this run.
static RUN: Mutex<Secrets> = Mutex::new(Secrets::new());

fn of_this_run<T>(work: impl FnOnce(&mut Secrets) -> T) -> T {
    work(&mut RUN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// From here on, no text that is shown holds `secret`.
pub fn protect(secret: &str) {
    of_this_run(|secrets| secrets.protect(secret));
}

/// `text` without the secrets of this run, and without what looks like one. For text that is not long: see
/// [`shown`].
pub fn scrub(text: &str) -> String {
    let patterns = of_this_run(Secrets::patterns);
    scrub_with(&patterns, text)
}

/// What the command has written, without the secrets of this run.
pub fn scrub_bytes(bytes: &[u8]) -> Vec<u8> {
    let patterns = of_this_run(Secrets::patterns);
    replace(bytes, &patterns, Extent::Whole, REDACTED)
}

/// For a stream of the command's that is passed on.
pub fn mask() -> Mask {
    of_this_run(Secrets::mask)
}

fn scrub_with(patterns: &Patterns, text: &str) -> String {
    let scrubbed = replace(text.as_bytes(), patterns, Extent::SecretPart, REDACTED);
    // What is replaced begins and ends between characters.
    shapes::redact(&String::from_utf8_lossy(&scrubbed))
}

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

/// A text of ours with foreign text in it, as it may be shown: scrubbed, on one line, not too long.
pub fn clean(text: &str) -> String {
    /// How much is looked at. Whoever made the text has cut what is foreign; this is for a bug.
    const MAX_BYTES: usize = 4 * MAX_LINE_BYTES;
    let text = if text.len() > MAX_BYTES { &text[..shown::floor(text, MAX_BYTES)] } else { text };
    capped(printable(&scrub(text)), MAX_LINE_BYTES)
}

/// The same of each text in a JSON value.
pub fn clean_json(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(items) => items.into_iter().map(clean_json).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (clean(&name), clean_json(value))).collect()
        }
        plain => plain,
    }
}

fn replace(bytes: &[u8], patterns: &Patterns, extent: Extent, by: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    for range in patterns.find(bytes, extent) {
        out.extend_from_slice(&bytes[copied..range.start]);
        out.extend_from_slice(by.as_bytes());
        copied = range.end;
    }
    out.extend_from_slice(&bytes[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_text_is_cut_before_it_is_looked_at() {
        assert_eq!(shown(&format!("  a\n b {}", "x".repeat(1 << 20)), 6), "a b xx…");
        assert_eq!(shown("abc", 3), "abc");
    }
}
