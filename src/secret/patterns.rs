//! What the secrets of a run look like, and where they are in a text.
//!
//! A piece of [`PIECE_CHARS`] characters or more of a secret counts. So every window of that size, of every
//! form that a secret can have, is looked up at every place of the text. A rolling hash and two bit sets
//! ([`Filter`]) answer nearly every look-up; what they let through is compared.

use std::cmp::Ordering;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use super::normalize::{Stream, fold};
use super::shown::floor;

/// A piece of a secret counts if it has this many characters.
pub(super) const PIECE_CHARS: usize = 12;
/// A shorter secret is not looked for: it would be found everywhere.
const MIN_SECRET_CHARS: usize = 4;
/// A secret that is shorter counts only where it stands as a word: it would take our own words apart.
const MIN_ANYWHERE_CHARS: usize = 8;
/// A form of a short secret, such as its base64, has to have this many characters.
const MIN_FORM_CHARS: usize = 6;
/// What is looked for at the beginning and at the end of a longer secret, which no server takes: a service URL
/// must not be able to keep us busy.
const MAX_SECRET_BYTES: usize = 4 * 1024;
/// What stands between two forms. No text at any level holds it next to a character.
const SEPARATOR: u8 = 0;

/// The forms of a set of secrets.
#[derive(Default)]
pub(super) struct Patterns {
    /// All forms of at least [`PIECE_CHARS`], with a [`SEPARATOR`] behind each.
    text: Vec<u8>,
    /// Where in `text` each window begins, in the order of the windows.
    windows: Vec<u32>,
    /// What stands before the secret part of a token, and where that part begins in `text`.
    fronts: Vec<(Vec<u8>, u32)>,
    short: Vec<Short>,
    pub filter: Filter,
}

/// A secret that counts as a whole only.
struct Short {
    form: Vec<u8>,
    as_word: bool,
}

/// Which parts of a token are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Only what is secret: the public part tells which token it was.
    SecretPart,
    /// The whole token, where it is there as a whole.
    Whole,
}

impl Patterns {
    pub fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Patterns {
        let mut patterns = Patterns::default();
        for secret in secrets {
            patterns.add(secret);
        }
        patterns.sort();
        patterns
    }

    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.short.is_empty()
    }

    fn add(&mut self, secret: &str) {
        let (front, part) = split(secret);
        let beginning = &part[..floor(part, MAX_SECRET_BYTES)];
        let end = &part[floor(part, part.len().saturating_sub(MAX_SECRET_BYTES))..];
        let raw = Stream::of(beginning.as_bytes()).bytes;
        if raw.len() < MIN_SECRET_CHARS {
            return;
        }
        let as_word = raw.len() < MIN_ANYWHERE_CHARS;
        if !front.is_empty() && raw.len() >= PIECE_CHARS {
            let at = u32::try_from(self.text.len()).unwrap_or(u32::MAX);
            self.fronts.push((Stream::of(front.as_bytes()).bytes, at));
        }
        self.add_form(raw, as_word);
        for text in [beginning, end] {
            if text != beginning {
                self.add_form(Stream::of(text.as_bytes()).bytes, as_word);
            }
            // A text that has the secret in it is decoded where it is; so is a secret with a `%` in it.
            for decoded in Stream::levels(text.as_bytes()).skip(1) {
                self.add_form(decoded.bytes, as_word);
            }
            self.add_encoded(text.as_bytes());
            for other_case in [text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
                if other_case != text {
                    self.add_encoded(other_case.as_bytes());
                }
            }
            if beginning == end {
                break;
            }
        }
    }

    /// Base64 of a text that holds `secret`, which may begin at any of three places in a group; and hex.
    fn add_encoded(&mut self, secret: &[u8]) {
        const GROUP_BYTES: usize = 3;
        for shift in 0..GROUP_BYTES {
            let shifted = [&[0; GROUP_BYTES][..shift], secret].concat();
            let encoded = URL_SAFE_NO_PAD.encode(&shifted);
            // Characters that also depend on what stands before.
            let begin = shift + usize::from(shift > 0);
            // The last one depends on what comes next, if that is not the end.
            let depends = shifted.len() % GROUP_BYTES != 0;
            let form: Vec<u8> = encoded.bytes().skip(begin).map(fold).collect();
            let certain = form.len() - usize::from(depends);
            self.add_encoded_form(if certain < PIECE_CHARS { form[..certain].to_vec() } else { form });
        }
        self.add_encoded_form(secret.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    }

    fn add_encoded_form(&mut self, form: Vec<u8>) {
        if form.len() >= MIN_FORM_CHARS {
            self.add_form(form, false);
        }
    }

    fn add_form(&mut self, form: Vec<u8>, as_word: bool) {
        if form.len() < PIECE_CHARS {
            if form.len() >= MIN_SECRET_CHARS && !self.short.iter().any(|short| short.form == form) {
                self.short.push(Short { form, as_word });
            }
            return;
        }
        let begin = self.text.len();
        self.text.extend_from_slice(&form);
        self.text.push(SEPARATOR);
        let windows = begin..=begin + form.len() - PIECE_CHARS;
        self.windows.extend(windows.filter_map(|at| u32::try_from(at).ok()));
        self.filter.add(&form);
    }

    fn sort(&mut self) {
        let Patterns { text, windows, .. } = self;
        windows.sort_unstable_by_key(|&at| window(text, at));
        windows.dedup_by_key(|at| window(text, *at));
    }

    /// Where in `text` secrets are, in order, without overlaps.
    pub fn find(&self, text: &[u8], extent: Extent) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.is_empty() {
            return found;
        }
        for stream in Stream::levels(text) {
            self.find_pieces(&stream, extent, &mut found);
            for short in &self.short {
                find_short(short, &stream, text, extent, &mut found);
            }
        }
        merge(found)
    }

    fn find_pieces(&self, stream: &Stream, extent: Extent, found: &mut Vec<Range<usize>>) {
        let mut hash = Gear::default();
        for (at, &byte) in stream.bytes.iter().enumerate() {
            hash.push(byte);
            if at + 1 < PIECE_CHARS || !self.filter.may_hold(hash) {
                continue;
            }
            let begin = at + 1 - PIECE_CHARS;
            let Some(window) = self.window_of(&stream.bytes[begin..=at]) else { continue };
            let mut from = stream.spans[begin].0;
            if extent == Extent::Whole
                && let Some(front) = self.front_before(window, &stream.bytes[..begin])
            {
                from = stream.spans[begin - front].0;
            }
            let (from, to) = (from as usize, stream.spans[at].1 as usize);
            match found.last_mut() {
                Some(last) if last.start <= from && from < last.end => last.end = last.end.max(to),
                _ => found.push(from..to),
            }
        }
    }

    /// Where in `self.text` the same characters are.
    fn window_of(&self, piece: &[u8]) -> Option<u32> {
        let found = self.windows.binary_search_by(|&at| window(&self.text, at).cmp(piece));
        found.ok().map(|index| self.windows[index])
    }

    /// The length of the public part of the token, if it ends `before` its secret part, which begins with
    /// this window.
    fn front_before(&self, at: u32, before: &[u8]) -> Option<usize> {
        let window_text = window(&self.text, at);
        let fronts = self.fronts.iter().filter(|(_, begin)| window(&self.text, *begin) == window_text);
        fronts.filter(|(front, _)| before.ends_with(front)).map(|(front, _)| front.len()).max()
    }
}

/// The public beginning of a token, and its secret part.
fn split(secret: &str) -> (&str, &str) {
    let after_dot = |dots: usize| secret.match_indices('.').nth(dots).map(|(at, _)| at + 1);
    let at = if secret.starts_with("eyJ") {
        // RFC 7515: header, claims, signature; RFC 7516 has four parts after the header.
        match secret.matches('.').count() {
            2 => after_dot(1),
            4 => after_dot(0),
            _ => None,
        }
    } else if secret.starts_with("gt-") {
        after_dot(0)
    } else {
        secret.starts_with("svctok-").then_some("svctok-".len())
    };
    match at {
        Some(at) if secret.len() - at >= MIN_SECRET_CHARS => secret.split_at(at),
        _ => ("", secret),
    }
}

fn window(text: &[u8], at: u32) -> &[u8] {
    &text[at as usize..at as usize + PIECE_CHARS]
}

fn find_short(short: &Short, stream: &Stream, text: &[u8], extent: Extent, found: &mut Vec<Range<usize>>) {
    let needs_word = short.as_word && extent == Extent::SecretPart;
    for at in memmem::find_iter(&stream.bytes, &short.form) {
        let from = stream.spans[at].0 as usize;
        let to = stream.spans[at + short.form.len() - 1].1 as usize;
        let alone = |byte: Option<&u8>| !byte.is_some_and(u8::is_ascii_alphanumeric);
        if !needs_word || (alone(text[..from].last()) && alone(text.get(to))) {
            found.push(from..to);
        }
    }
}

/// In order, those that overlap made one.
fn merge(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
    found.sort_unstable_by(|a, b| a.start.cmp(&b.start).then_with(|| b.end.cmp(&a.end)));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
    for range in found {
        match merged.last_mut() {
            Some(last) if range.start.cmp(&last.end) == Ordering::Less => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// A hash of the last characters: each further one shifts the older ones out.
#[derive(Clone, Copy, Default)]
pub(super) struct Gear(u64);

impl Gear {
    /// How far one character shifts the others: after [`Gear::CHARS`] of them nothing is left of one.
    const SHIFT_BITS: u32 = 6;
    const CHARS: usize = u64::BITS.div_ceil(Gear::SHIFT_BITS) as usize;

    pub fn push(&mut self, byte: u8) {
        self.0 = (self.0 << Gear::SHIFT_BITS).wrapping_add(SPREAD[byte as usize]);
    }
}

const _: () = assert!(Gear::CHARS <= PIECE_CHARS, "a piece has all that its hash depends on");

/// A number without order for each byte (SplitMix64).
static SPREAD: [u64; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    while at < table.len() {
        let mut z = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        table[at] = z ^ (z >> 31);
        at += 1;
    }
    table
};

/// Two sets of hashes: what is in both may be a window's.
#[derive(Default)]
pub(super) struct Filter {
    high: BitSet,
    low: BitSet,
}

#[derive(Default)]
struct BitSet(Vec<u64>);

impl BitSet {
    const WORDS: usize = 1 << 10;

    fn add(&mut self, bit: u16) {
        self.0.resize(BitSet::WORDS, 0);
        self.0[usize::from(bit >> 6)] |= 1 << (bit & 63);
    }

    fn holds(&self, bit: u16) -> bool {
        self.0.get(usize::from(bit >> 6)).is_some_and(|word| word >> (bit & 63) & 1 == 1)
    }
}

impl Filter {
    fn add(&mut self, form: &[u8]) {
        let mut hash = Gear::default();
        for (at, &byte) in form.iter().enumerate() {
            hash.push(byte);
            if at + 1 >= Gear::CHARS {
                self.high.add(high(hash));
                self.low.add(low(hash));
            }
        }
    }

    /// Whether a window of a secret may end here.
    pub fn may_hold(&self, hash: Gear) -> bool {
        self.high.holds(high(hash)) && self.low.holds(low(hash))
    }
}

fn high(hash: Gear) -> u16 {
    (hash.0 >> 48) as u16
}

#[expect(clippy::cast_possible_truncation, reason = "16 bits that fewer characters have a say in")]
fn low(hash: Gear) -> u16 {
    (hash.0 >> 32) as u16
}
