//! Finds the secrets of a run in a text.
//!
//! A part of a secret counts if it has [`PIECE_CHARS`] or more characters. So every window of that size, of every form
//! of a secret, is searched for at every position of the text. A [`Filter`] decides most searches; the remaining
//! candidates are compared.

use std::cmp::Ordering;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use super::floor;
use super::lists::{self, is_kept};
use super::normalize::{Stream, fold};

/// The shortest part of a secret that counts.
pub(super) const PIECE_CHARS: usize = 12;
/// The filter contains all substrings of this length: it fits into a register.
const GRAM_CHARS: usize = 8;
/// How many grams a window contains; so it contains one that begins at a multiple of this.
const STRIDE: usize = PIECE_CHARS - GRAM_CHARS + 1;
/// A shorter secret is not searched for: it would be found everywhere.
const MIN_SECRET_CHARS: usize = 4;
/// A shorter secret counts only as a separate word: otherwise it would break up words of messages.
const MIN_ANYWHERE_CHARS: usize = 8;
/// The minimum length of an encoded form of a short secret, such as its base64.
const MIN_FORM_CHARS: usize = 6;
/// Of a longer secret, only the beginning and the end are searched for. None is longer: a file that holds a token is
/// refused if it is.
const MAX_SECRET_BYTES: usize = 64 * 1024;
/// A longer secret does not fit into a header of a server, where its letter case might change before it is encoded.
const MAX_HEADER_BYTES: usize = 4 * 1024;
/// Separates two forms. No level of a text contains it.
const SEPARATOR: u8 = b' ';

/// The forms of a set of secrets.
#[derive(Default)]
pub(super) struct Patterns {
    /// All forms of at least [`PIECE_CHARS`], with a [`SEPARATOR`] behind each.
    text: Vec<u8>,
    fronts: Vec<Front>,
    short: Vec<Short>,
    filter: Filter,
    has_odd_characters: bool,
}

/// The beginning of a token: its public part, and less than [`PIECE_CHARS`] of its secret part.
struct Front {
    text: Vec<u8>,
    /// The length of the public part.
    public: usize,
    /// Where the secret part begins in the text of the patterns.
    begin: usize,
}

/// A part of a secret found in a text.
struct Piece {
    range: Range<usize>,
    /// Where its first character ends.
    first_end: usize,
}

impl Piece {
    /// Its position, without overlapping those (in order) that were found with fewer escapes removed: `\\-` may be an
    /// escaped dash, but not if the secret begins with that dash itself.
    fn beside(self, known: &[Range<usize>]) -> Range<usize> {
        let Piece { mut range, first_end } = self;
        let next = known.partition_point(|known| known.start <= range.start);
        if let Some(known) = known.get(next).filter(|known| known.start < first_end) {
            range.start = known.start;
        }
        range
    }
}

/// A secret that only counts as a whole.
struct Short {
    form: Vec<u8>,
    as_word: bool,
}

/// The part of a token that is replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Only the secret part: the public part identifies the token.
    SecretPart,
    /// The same of secrets of [`PIECE_CHARS`] or more: a shorter one may be a word of ours, such as `http`.
    LongSecretPart,
    /// The whole token, if it is there completely.
    Whole,
}

impl Patterns {
    pub(super) fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Patterns {
        let mut patterns = Patterns::default();
        for secret in secrets {
            patterns.add(secret);
        }
        patterns.filter = Filter::of(&patterns.text);
        patterns
    }

    /// The forms of the bytes that secrets are base64 of, such as those of a signature.
    pub(super) fn of_decoded<'a>(secrets: impl Iterator<Item = &'a str>) -> Patterns {
        let mut patterns = Patterns::default();
        let decoded = secrets.filter_map(|secret| URL_SAFE_NO_PAD.decode(split(secret).1).ok());
        for bytes in decoded.filter(|bytes| bytes.len() >= PIECE_CHARS) {
            patterns.add_form(bytes.iter().copied().filter(|byte| is_kept(*byte)).map(fold).collect(), false);
            // In a text whose characters are the bytes.
            let latin: String = bytes.iter().copied().map(char::from).collect();
            patterns.add_form(Stream::of(latin.as_bytes()).bytes, false);
            patterns.add_form(hex(&bytes), false);
        }
        patterns.filter = Filter::of(&patterns.text);
        patterns
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.short.is_empty()
    }

    /// True if a secret contains non-ASCII characters.
    pub(super) fn has_odd_characters(&self) -> bool {
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
            let begin = self.text.len();
            let mut text = Stream::of(front.as_bytes()).bytes;
            let public = text.len();
            text.extend_from_slice(&raw[..PIECE_CHARS - 1]);
            self.fronts.push(Front { text, public, begin });
        }
        self.add_form(raw, as_word);
        for text in [beginning, end] {
            if text != beginning {
                self.add_form(Stream::of(text.as_bytes()).bytes, as_word);
            }
            // A text that contains the secret is decoded, so a secret with a `%` in it must be decoded too.
            for decoded in Stream::levels(text.as_bytes()).skip(1) {
                self.add_form(decoded.bytes, as_word);
            }
            self.add_encoded(text.as_bytes());
            for other_case in [text.to_ascii_lowercase(), text.to_ascii_uppercase()] {
                if other_case != text && text.len() <= MAX_HEADER_BYTES {
                    self.add_encoded(other_case.as_bytes());
                }
            }
            if beginning == end {
                break;
            }
        }
    }

    /// Base64 of a text that contains `secret`, which may begin at any of three positions in a group; and hex.
    fn add_encoded(&mut self, secret: &[u8]) {
        const GROUP_BYTES: usize = 3;
        for shift in 0..GROUP_BYTES {
            let shifted = [&[0; GROUP_BYTES][..shift], secret].concat();
            let encoded = URL_SAFE_NO_PAD.encode(&shifted);
            // Leave out characters that depend on the bytes before.
            let begin = shift + usize::from(shift > 0);
            // The last one depends on the next byte, unless it is the end.
            let depends = shifted.len() % GROUP_BYTES != 0;
            let form: Vec<u8> = encoded.bytes().skip(begin).map(fold).collect();
            let certain = form.len() - usize::from(depends);
            self.add_encoded_form(if certain < PIECE_CHARS { form[..certain].to_vec() } else { form });
        }
        self.add_encoded_form(hex(secret));
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
                self.short.push(Short { form, as_word });
            }
            return;
        }
        self.has_odd_characters |= !form.is_ascii();
        self.text.extend_from_slice(&form);
        self.text.push(SEPARATOR);
    }

    /// The positions of secrets in `text`, in order, without overlaps.
    pub(super) fn find(&self, text: &[u8], extent: Extent) -> Vec<Range<usize>> {
        if self.is_empty() { Vec::new() } else { self.find_in(Stream::levels(text), extent) }
    }

    /// As [`Patterns::find`], in the lists of bytes.
    pub(super) fn find_listed(&self, text: &[u8], extent: Extent) -> Vec<Range<usize>> {
        let shortest = self.short.iter().map(|short| short.form.len()).min().unwrap_or(PIECE_CHARS);
        // A digit for each byte, and a character between two of them.
        if self.is_empty() || text.len() < 2 * shortest - 1 {
            return Vec::new();
        }
        self.find_in(lists::streams(text, shortest), extent)
    }

    fn find_in(&self, streams: impl Iterator<Item = Stream>, extent: Extent) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for stream in streams {
            let mut pieces = Vec::new();
            self.find_pieces(&stream, extent, &mut pieces);
            let mut further: Vec<Range<usize>> =
                pieces.into_iter().map(|piece| piece.beside(&found)).collect();
            for short in self.short.iter().filter(|_| extent != Extent::LongSecretPart) {
                find_short(short, &stream, extent, &mut further);
            }
            if !further.is_empty() {
                found.append(&mut further);
                found = merge(found);
            }
        }
        found
    }

    fn find_pieces(&self, stream: &Stream, extent: Extent, found: &mut Vec<Piece>) {
        // Where the text of the patterns goes on after the window found last.
        let mut next = None;
        for (begin, piece) in stream.bytes.windows(PIECE_CHARS).enumerate() {
            let Some(at) = next.filter(|&at| self.window(at) == piece).or_else(|| self.window_of(piece))
            else {
                next = None;
                continue;
            };
            next = Some(at + 1);
            let mut first = stream.spans[begin];
            if extent == Extent::Whole
                && let Some(front) = self.front_before(piece, &stream.bytes[..begin])
            {
                first = stream.spans[begin - front];
            }
            let (from, to) = (first.0 as usize, stream.spans[begin + PIECE_CHARS - 1].1 as usize);
            match found.last_mut() {
                Some(Piece { range, .. }) if range.start <= from && from < range.end => {
                    range.end = range.end.max(to);
                }
                _ => found.push(Piece { range: from..to, first_end: first.1 as usize }),
            }
        }
    }

    fn window(&self, at: usize) -> &[u8] {
        self.text.get(at..at + PIECE_CHARS).unwrap_or_default()
    }

    /// Where `self.text` has the same characters.
    fn window_of(&self, piece: &[u8]) -> Option<usize> {
        let is_likely = grams(piece).all(|gram| self.filter.may_hold(gram));
        if is_likely { memmem::find(&self.text, piece) } else { None }
    }

    /// The length of the token's public part, if it ends `before` the secret part, which begins with this window.
    fn front_before(&self, window: &[u8], before: &[u8]) -> Option<usize> {
        let fronts = self.fronts.iter().filter(|front| self.window(front.begin) == window);
        let is_before = |front: &&Front| before.ends_with(&front.text[..front.public]);
        fronts.filter(is_before).map(|front| front.public).max()
    }

    /// True if some of the characters are part of a secret. In very rare cases, also if they are not.
    pub(super) fn are_in(&self, characters: &[u8]) -> bool {
        let mut rest = characters;
        while let Some(&gram) = rest.first_chunk() {
            if self.filter.may_hold(gram) && self.is_window_around(characters, characters.len() - rest.len())
            {
                return true;
            }
            rest = &rest[STRIDE..];
        }
        self.short.iter().any(|short| memmem::find(characters, &short.form).is_some())
    }

    /// True if the gram at this position may be part of a window: one that is in the filter by chance has no neighbors.
    fn is_window_around(&self, characters: &[u8], at: usize) -> bool {
        let begins = at.saturating_sub(STRIDE - 1)..=at;
        begins
            .into_iter()
            .filter_map(|begin| characters.get(begin..begin + PIECE_CHARS))
            .any(|window| grams(window).all(|gram| self.filter.may_hold(gram)))
    }

    /// The longest possible beginning of a piece or a token.
    pub(super) fn longest_beginning(&self) -> usize {
        self.fronts.iter().map(|front| front.text.len()).max().unwrap_or(PIECE_CHARS - 1)
    }

    /// True if some of the characters may be from the middle of a token's beginning.
    pub(super) fn is_in_front(&self, characters: &[u8]) -> bool {
        self.fronts.iter().any(|front| memmem::find(&front.text, characters).is_some())
    }

    /// How many of the last `characters` may be the beginning of a piece or a token.
    pub(super) fn beginning_at_end(&self, characters: &[u8]) -> usize {
        let last = |most: usize| &characters[characters.len().saturating_sub(most)..];
        let of_piece = (1..PIECE_CHARS.min(characters.len() + 1))
            .take_while(|&count| memmem::find(&self.text, last(count)).is_some())
            .last();
        let of_short = self.short.iter().flat_map(|short| {
            let counts = 1..short.form.len().min(characters.len() + 1);
            counts.filter(|&count| short.form.starts_with(last(count)))
        });
        let of_token = self.fronts.iter().filter_map(|front| {
            let last = last(front.text.len());
            let mut begins = memchr::memchr_iter(front.text[0], last);
            begins.find(|&at| front.text.starts_with(&last[at..])).map(|at| last.len() - at)
        });
        of_token.chain(of_piece).chain(of_short).max().unwrap_or_default()
    }
}

fn hex(bytes: &[u8]) -> Vec<u8> {
    let digit = |half: u8| b"0123456789abcdef"[usize::from(half)];
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15].map(digit)).collect()
}

/// Splits a token into its public beginning and its secret part.
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

fn find_short(short: &Short, stream: &Stream, extent: Extent, found: &mut Vec<Range<usize>>) {
    let needs_word = short.as_word && extent == Extent::SecretPart;
    // Not part of `https_proxy`, which messages use. An escape is not a letter before it.
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    for begin in memmem::find_iter(&stream.bytes, &short.form) {
        let end = begin + short.form.len();
        let (from, to) = (stream.spans[begin].0, stream.spans[end - 1].1);
        let before = begin.checked_sub(1).filter(|at| stream.spans[*at].1 == from);
        let after = stream.spans.get(end).filter(|span| span.0 == to).map(|_| end);
        let is_alone = || [before, after].into_iter().flatten().all(|at| !is_part(stream.bytes[at]));
        if !needs_word || is_alone() {
            found.push(from as usize..to as usize);
        }
    }
}

/// Sorts ranges and merges overlapping ones.
pub(super) fn merge(mut found: Vec<Range<usize>>) -> Vec<Range<usize>> {
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

/// A Bloom filter of the grams of a text: two bits of one word for each.
#[derive(Default)]
struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// So that one of fifty other grams is found.
    const BITS_PER_GRAM: usize = 12;
    const MIN_WORDS: usize = 1 << 10;

    fn of(text: &[u8]) -> Filter {
        if text.is_empty() {
            return Filter::default();
        }
        let words = (text.len() * Filter::BITS_PER_GRAM / 64).max(Filter::MIN_WORDS);
        let mut filter = Filter { words: vec![0; words] };
        for gram in grams(text).filter(|gram| !gram.contains(&SEPARATOR)) {
            let (index, bits) = filter.place(gram);
            filter.words[index] |= bits;
        }
        filter
    }

    #[inline]
    fn may_hold(&self, gram: [u8; GRAM_CHARS]) -> bool {
        let (index, bits) = self.place(gram);
        self.words.get(index).is_some_and(|word| word & bits == bits)
    }

    /// The word and the bits for these characters.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "some bits of it")]
    fn place(&self, gram: [u8; GRAM_CHARS]) -> (usize, u64) {
        // Both halves of the product with Knuth's constant: each bit depends on all characters.
        let product = u128::from(u64::from_le_bytes(gram)) * 0x9e37_79b9_7f4a_7c15;
        let hash = (product >> 64) as u64 ^ product as u64;
        let index = ((hash >> 32) * self.words.len() as u64) >> 32;
        (index as usize, 1 << (hash & 63) | 1 << (hash >> 6 & 63))
    }
}

fn grams(text: &[u8]) -> impl Iterator<Item = [u8; GRAM_CHARS]> {
    text.windows(GRAM_CHARS).filter_map(|gram| gram.first_chunk().copied())
}
