//! What the secrets of a run look like, and where they are in a text.
//!
//! A piece of [`PIECE_CHARS`] characters or more of a secret counts. So every window of that size, of every
//! form that a secret can have, is looked up at every place of the text. A rolling hash and two bit sets
//! ([`Filter`]) answer nearly every look-up; what they let through is compared.

#![expect(
    clippy::inline_always,
    reason = "each byte of a stream goes through it, and the build is one for size"
)]

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
    filter: Filter,
    has_odd_characters: bool,
}

/// A piece of a secret in a text.
struct Piece {
    range: Range<usize>,
    /// Where its first character ends.
    first_end: usize,
}

impl Piece {
    /// Where it is, beside those (in order) that were found with fewer escapes taken away: `\\-` may be an escaped dash, but
    /// not where the secret begins with the dash as it stands.
    fn beside(self, known: &[Range<usize>]) -> Range<usize> {
        let Piece { mut range, first_end } = self;
        let next = known.partition_point(|known| known.start <= range.start);
        if let Some(known) = known.get(next).filter(|known| known.start < first_end) {
            range.start = known.start;
        }
        range
    }
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

    /// Whether some secret holds characters that [`Filter`] does not see.
    pub fn has_odd_characters(&self) -> bool {
        self.has_odd_characters
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
                self.has_odd_characters |= !form.is_ascii();
                self.filter.add_short(&form);
                self.short.push(Short { form, as_word });
            }
            return;
        }
        self.has_odd_characters |= !form.is_ascii();
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
            let mut pieces = Vec::new();
            self.find_pieces(&stream, extent, &mut pieces);
            let mut further: Vec<Range<usize>> =
                pieces.into_iter().map(|piece| piece.beside(&found)).collect();
            for short in &self.short {
                find_short(short, &stream, text, extent, &mut further);
            }
            if !further.is_empty() {
                found.append(&mut further);
                found = merge(found);
            }
        }
        found
    }

    fn find_pieces(&self, stream: &Stream, extent: Extent, found: &mut Vec<Piece>) {
        let mut hash = Gear::default();
        for (at, &byte) in stream.bytes.iter().enumerate() {
            hash.push(byte);
            if at + 1 < PIECE_CHARS || !self.filter.may_hold(hash) {
                continue;
            }
            let begin = at + 1 - PIECE_CHARS;
            let Some(window) = self.window_of(&stream.bytes[begin..=at]) else { continue };
            let mut first = stream.spans[begin];
            if extent == Extent::Whole
                && let Some(front) = self.front_before(window, &stream.bytes[..begin])
            {
                first = stream.spans[begin - front];
            }
            let (from, to) = (first.0 as usize, stream.spans[at].1 as usize);
            match found.last_mut() {
                Some(Piece { range, .. }) if range.start <= from && from < range.end => {
                    range.end = range.end.max(to);
                }
                _ => found.push(Piece { range: from..to, first_end: first.1 as usize }),
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

    /// Whether a piece of a secret may end where the stream has this hash: quick, and sometimes wrong.
    #[inline(always)]
    pub fn may_end(&self, hash: Gear) -> bool {
        self.filter.high.holds(high(hash)) || self.filter.short.holds(of_four(hash))
    }

    /// Whether one ends there: for what [`Patterns::may_end`] lets through.
    #[inline(never)]
    pub fn ends(&self, last: [u8; PIECE_CHARS]) -> bool {
        self.ends_with(&Track::new(Gear::of(&last), last))
    }

    /// Whether a piece of a secret ends with the last character of `track`.
    pub fn ends_with(&self, track: &Track) -> bool {
        self.filter.may_hold_short(track.hash)
            || (self.filter.may_hold(track.hash) && self.window_of(&track.piece()).is_some())
    }

    /// The most characters that may be the beginning of a piece, or of a token.
    pub fn longest_beginning(&self) -> usize {
        let front = self.fronts.iter().map(|(front, _)| front.len()).max().unwrap_or_default();
        front + PIECE_CHARS - 1
    }

    /// How many of the last `characters` may be the beginning of a piece, or of a token.
    pub fn beginning_at_end(&self, characters: &[u8]) -> usize {
        let last = |count: usize| &characters[characters.len() - count..];
        (1..=self.longest_beginning().min(characters.len()))
            .rev()
            .find(|&count| self.begins_piece(last(count)) || self.begins_token(last(count)))
            .unwrap_or_default()
    }

    fn begins_piece(&self, characters: &[u8]) -> bool {
        if characters.len() >= PIECE_CHARS {
            return false;
        }
        let of_window = |at: &u32| window(&self.text, *at)[..characters.len()].cmp(characters);
        self.windows.binary_search_by(of_window).is_ok()
            || self.short.iter().any(|short| short.form.starts_with(characters))
    }

    /// Whether these are the public part of a token, or its beginning, or that and less than a piece of the
    /// secret part.
    fn begins_token(&self, characters: &[u8]) -> bool {
        self.fronts.iter().any(|(front, begin)| {
            let (of_front, rest) = characters.split_at(characters.len().min(front.len()));
            front.starts_with(of_front)
                && rest.len() < PIECE_CHARS
                && window(&self.text, *begin).starts_with(rest)
        })
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

    fn of(characters: &[u8]) -> Gear {
        let mut hash = Gear::default();
        for &character in characters {
            hash.push(character);
        }
        hash
    }

    #[inline(always)]
    pub fn push(&mut self, byte: u8) {
        self.0 = (self.0 << Gear::SHIFT_BITS).wrapping_add(SPREAD[byte as usize]);
    }
}

const _: () = assert!(Gear::CHARS <= PIECE_CHARS, "a piece has all that its hash depends on");

/// The last characters of a stream, and their hash.
#[derive(Clone, Copy)]
pub(super) struct Track {
    pub hash: Gear,
    recent: [u8; 16],
    count: usize,
}

impl Track {
    pub fn new(hash: Gear, last: [u8; PIECE_CHARS]) -> Track {
        let mut recent = [0; 16];
        recent[..PIECE_CHARS].copy_from_slice(&last);
        Track { hash, recent, count: PIECE_CHARS }
    }

    pub fn push(&mut self, byte: u8) {
        self.hash.push(byte);
        self.recent[self.count % 16] = byte;
        self.count = self.count.wrapping_add(1);
    }

    fn piece(&self) -> [u8; PIECE_CHARS] {
        std::array::from_fn(|at| self.recent[self.count.wrapping_add(16 - PIECE_CHARS + at) % 16])
    }
}

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
    short: BitSet,
}

/// Numbers of 16 bits.
#[derive(Default)]
struct BitSet(Option<Box<[u64; BitSet::WORDS]>>);

impl BitSet {
    const WORDS: usize = 1 << 10;

    fn add(&mut self, bit: u16) {
        let words = self.0.get_or_insert_with(|| Box::new([0; BitSet::WORDS]));
        words[usize::from(bit >> 6)] |= 1 << (bit & 63);
    }

    #[inline(always)]
    fn holds(&self, bit: u16) -> bool {
        self.0.as_ref().is_some_and(|words| words[usize::from(bit >> 6)] >> (bit & 63) & 1 == 1)
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

    fn add_short(&mut self, form: &[u8]) {
        let mut hash = Gear::default();
        for &byte in form {
            hash.push(byte);
        }
        self.short.add(of_four(hash));
    }

    /// Whether a secret that is shorter may end here.
    fn may_hold_short(&self, hash: Gear) -> bool {
        self.short.holds(of_four(hash))
    }

    /// Whether a window of a secret may end here.
    fn may_hold(&self, hash: Gear) -> bool {
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

/// What only the last four characters have a say in: as many as the shortest secret has.
#[expect(clippy::cast_possible_truncation, reason = "16 of the lowest 24 bits")]
fn of_four(hash: Gear) -> u16 {
    (hash.0 >> 8) as u16
}
