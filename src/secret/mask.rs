//! The secrets of the run in a stream that is passed on: replaced as it comes, also where a secret is split.
//!
//! What came last may be the beginning of a secret. It is held back until more comes, or until whoever reads the
//! stream has waited long enough ([`Mask::release`]). What was passed on is remembered as far as a piece of a
//! secret can reach back, so that the rest of a secret whose beginning is out is replaced all the same.

use std::ops::Range;
use std::sync::Arc;

use super::normalize::{
    Decoded, MAX_ESCAPE_BYTES, MAX_GAP_BYTES, Stream, escape, fold, is_introducer, visible,
    wrap_or_sequence_length,
};
use super::patterns::{Extent, Gear, PIECE_CHARS, Patterns, Track};

/// What stands in the place of a secret.
pub const MASK: &[u8] = b"***";

/// How much of what was passed on is remembered.
const CONTEXT_BYTES: usize = 2048;
/// How much is looked at closely, before and behind a place that may belong to a secret.
const CLOSE_LOOK_BYTES: usize = 1024;
/// How much of that is looked at again, with what comes next.
const OVERLAP_BYTES: usize = 512;
/// The longest thing that stands for one character, or for none, and can be cut off: a terminal's sequence.
const MAX_CUT_BYTES: usize = 32;

/// How far the characters of an escape may be from each other.
const MAX_LOOK_BYTES: usize = MAX_GAP_BYTES + MAX_CUT_BYTES;

/// The length of `<wbr />`.
const MAX_TAG_BYTES: usize = 7;

/// One stream.
pub struct Mask {
    patterns: Arc<Patterns>,
    /// What is remembered, then what is held back.
    buffer: Vec<u8>,
    /// Where in the buffer that begins.
    decided: usize,
    /// Whether what was passed on last was a mask.
    in_secret: bool,
}

impl Mask {
    pub(super) fn new(patterns: Arc<Patterns>) -> Mask {
        Mask { patterns, buffer: Vec::new(), decided: 0, in_secret: false }
    }

    /// Takes more of the stream, and appends to `out` what can be passed on.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.patterns.is_empty() {
            out.extend_from_slice(bytes);
            return;
        }
        self.buffer.extend_from_slice(bytes);
        self.pass_on(self.hold_from(), out);
    }

    /// Whether something is held back.
    pub fn is_holding(&self) -> bool {
        self.decided < self.buffer.len()
    }

    /// Appends to `out` what is held back.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        self.pass_on(self.buffer.len(), out);
    }

    fn pass_on(&mut self, until: usize, out: &mut Vec<u8>) {
        let mut at = self.decided;
        for secret in self.find() {
            if secret.end <= at || secret.start >= until {
                continue;
            }
            let begin = secret.start.max(at);
            if begin > at {
                out.extend_from_slice(&self.buffer[at..begin]);
                self.in_secret = false;
            }
            // One that goes on has its mask.
            if !(self.in_secret && secret.start < self.decided) {
                out.extend_from_slice(MASK);
            }
            self.in_secret = true;
            at = secret.end;
        }
        if at < until {
            out.extend_from_slice(&self.buffer[at..until]);
            self.in_secret = false;
            at = until;
        }
        let forget = at.saturating_sub(CONTEXT_BYTES);
        self.buffer.drain(..forget);
        self.decided = at - forget;
    }

    /// Where in the buffer secrets are.
    fn find(&self) -> Vec<Range<usize>> {
        let text = &self.buffer;
        let mut found: Vec<Range<usize>> = Vec::new();
        let mut from = 0;
        while let Some(at) = suspect(&self.patterns, text, from) {
            let begin = at.saturating_sub(CLOSE_LOOK_BYTES);
            let end = (at + CLOSE_LOOK_BYTES).min(text.len());
            for range in self.patterns.find(&text[begin..end], Extent::Whole) {
                let range = range.start + begin..range.end + begin;
                match found.last_mut() {
                    Some(last) if range.start < last.end => last.end = last.end.max(range.end),
                    _ => found.push(range),
                }
            }
            if end == text.len() {
                break;
            }
            from = end - OVERLAP_BYTES;
        }
        found
    }

    /// Where what may be the beginning of a secret begins.
    fn hold_from(&self) -> usize {
        let mut hold = self.beginning_before(self.buffer.len());
        let last = self.buffer.iter().enumerate().rev().take(MAX_LOOK_BYTES);
        let last = last.filter(|(_, byte)| is_seen(**byte) || **byte == 0x1b).take(MAX_CUT_BYTES);
        for (at, _) in last.filter(|(at, _)| is_cut_off(&self.buffer[*at..])) {
            hold = hold.min(at).min(self.beginning_before(at));
        }
        hold.max(self.decided)
    }

    /// Where the beginning of a secret that ends at `end` begins; `end` if there is none.
    fn beginning_before(&self, end: usize) -> usize {
        const FIRST_LOOK_BYTES: usize = 96;
        let mut looked_at = FIRST_LOOK_BYTES;
        loop {
            let begin = end.saturating_sub(looked_at);
            let mut hold = end;
            let mut may_be_longer = false;
            for stream in Stream::levels(&self.buffer[begin..end]) {
                let length = self.patterns.beginning_at_end(&stream.bytes);
                // Too little to hold the public part of a token.
                may_be_longer |= stream.bytes.len() < self.patterns.longest_beginning();
                if length > 0 {
                    let from = stream.spans[stream.bytes.len() - length].0 as usize + begin;
                    hold = hold.min(from);
                    // What is before it may be the rest of an escape.
                    may_be_longer |= from < begin + MAX_CUT_BYTES;
                }
            }
            if !may_be_longer || begin == 0 || looked_at > CONTEXT_BYTES {
                return hold;
            }
            looked_at *= 4;
        }
    }
}

/// Whether `rest`, which is all there is, may be the beginning of something that stands for one character, or for
/// none.
fn is_cut_off(rest: &[u8]) -> bool {
    let is_alone = || !rest[1..].iter().any(|&byte| is_seen(byte));
    match rest[0] {
        // Escapes of escapes have many forms.
        first if is_introducer(first) => true,
        b'=' => is_alone(),
        b'<' => rest.len() < MAX_TAG_BYTES && !rest.contains(&b'>'),
        0x1b => wrap_or_sequence_length(rest) == 1,
        0xc2.. => std::str::from_utf8(rest)
            .is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0),
        _ => false,
    }
}

#[derive(Clone, Copy)]
enum Class {
    /// Stands for itself.
    Plain,
    /// Is not seen, or is part of a character that no secret has.
    Skipped,
    /// May begin an escape, or a character that stands for another.
    Special,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Skipped; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        classes[byte] = Class::Plain;
        byte += 1;
    }
    let special = b"%\\&<=\x1b\xe2\xef";
    let mut at = 0;
    while at < special.len() {
        classes[special[at] as usize] = Class::Special;
        at += 1;
    }
    classes
};

/// The first place of `text` at or behind `from` that may belong to a secret. Quick, and never silent where
/// [`Patterns::find`] finds something.
///
/// The characters as they stand, and those that escapes stand for, are two streams. Behind an escape they are
/// the same again after as many characters as a piece has, so that nearly always one is enough.
fn suspect(patterns: &Patterns, text: &[u8], from: usize) -> Option<usize> {
    if patterns.has_odd_characters() {
        return (from < text.len()).then_some(from);
    }
    let mut raw = Gear::default();
    let mut at = from;
    // The loop that most bytes go through, and nothing else.
    while at < text.len() {
        let byte = text[at];
        match CLASSES[byte as usize] {
            Class::Skipped => {}
            Class::Plain => {
                raw.push(fold(byte));
                if patterns.may_end(raw) && patterns.ends(last_seen(&text[from..=at])) {
                    return Some(at);
                }
            }
            Class::Special => match replacement(&text[at..]) {
                Some(_) => match beside_escapes(patterns, text, from, at, raw) {
                    Ok((next, hash)) => {
                        (at, raw) = (next, hash);
                        continue;
                    }
                    Err(found) => return Some(found),
                },
                None if byte.is_ascii_graphic() => {
                    raw.push(fold(byte));
                    if patterns.may_end(raw) && patterns.ends(last_seen(&text[from..=at])) {
                        return Some(at);
                    }
                }
                None => {}
            },
        }
        at += 1;
    }
    None
}

/// From an escape at `at` on, until what it stands for makes no difference any more: where that is, and the hash
/// there; or where something may belong to a secret.
fn beside_escapes(
    patterns: &Patterns,
    text: &[u8],
    from: usize,
    at: usize,
    hash: Gear,
) -> Result<(usize, Gear), usize> {
    let mut raw = Track::new(hash, last_seen(&text[from..at]));
    let mut decoded = raw;
    // How many characters of `decoded` may still differ, and where it goes on.
    let (mut differing, mut goes_on_at) = (0, at);
    for (at, &byte) in text.iter().enumerate().skip(at) {
        if matches!(CLASSES[byte as usize], Class::Skipped) {
            continue;
        }
        if is_special(byte) && at >= goes_on_at {
            match replacement(&text[at..]) {
                Some(Replacement::Unclear) => return Err(at),
                Some(Replacement::Of { character, length }) => {
                    differing = PIECE_CHARS;
                    goes_on_at = at + length;
                    if let Some(character) = character {
                        decoded.push(character);
                        if patterns.ends_with(&decoded) {
                            return Err(at);
                        }
                    }
                }
                None => {}
            }
        }
        if !byte.is_ascii_graphic() {
            continue;
        }
        let character = fold(byte);
        raw.push(character);
        if patterns.ends_with(&raw) {
            return Err(at);
        }
        if at >= goes_on_at {
            decoded.push(character);
            if patterns.ends_with(&decoded) {
                return Err(at);
            }
            differing -= 1;
            if differing == 0 {
                return Ok((at + 1, raw.hash));
            }
        }
    }
    Ok((text.len(), raw.hash))
}

/// The last characters of a text that are seen, as many as a piece has; zeros before the first.
fn last_seen(text: &[u8]) -> [u8; PIECE_CHARS] {
    let mut last = [0; PIECE_CHARS];
    let seen = text.iter().rev().filter(|byte| byte.is_ascii_graphic());
    for (to, &from) in last.iter_mut().rev().zip(seen) {
        *to = fold(from);
    }
    last
}

/// Whether `byte` may begin an escape, or a character that stands for another.
fn is_special(byte: u8) -> bool {
    matches!(CLASSES[byte as usize], Class::Special)
}

enum Replacement {
    /// The first `length` bytes stand for this character, or for none.
    Of { character: Option<u8>, length: usize },
    /// For the beginning of another escape.
    Unclear,
}

/// What the special byte at the beginning of `text` begins.
#[inline(never)]
fn replacement(text: &[u8]) -> Option<Replacement> {
    if text[0] >= 0x80 {
        let (character, length) = visible(text)?;
        return Some(Replacement::Of { character: Some(character), length });
    }
    let length = wrap_or_sequence_length(text);
    if length > 1 {
        return Some(Replacement::Of { character: None, length });
    }
    if !is_introducer(text[0]) {
        return None;
    }
    let ahead = Ahead::of(text);
    let (decoded, count) = escape(ahead.characters())?;
    let character = match decoded {
        Decoded::Byte(byte) => Some(byte),
        Decoded::Char(c) => u8::try_from(c).ok(),
    };
    let character = character.filter(u8::is_ascii_graphic).map(fold);
    let length = ahead.ends[count - 1];
    if let Some(first) = character.filter(|&character| is_introducer(character)) {
        // `%2525`, `&amp;#45;`: escaped twice.
        let next = Ahead::of(&text[length..]);
        let again = [&[first], next.characters()].concat();
        if next.characters().first().is_none_or(|&byte| is_introducer(byte)) || escape(&again).is_some() {
            return Some(Replacement::Unclear);
        }
    }
    // Percent-encoded UTF-8 may be a character that is not seen, or one that stands for another.
    if matches!(decoded, Decoded::Byte(0xe2 | 0xef))
        || matches!(decoded, Decoded::Char('\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff01}'..='\u{ff5e}'))
    {
        return Some(Replacement::Unclear);
    }
    Some(Replacement::Of { character, length })
}

/// The next characters of a text, without those that are not seen.
struct Ahead {
    folded: [u8; MAX_ESCAPE_BYTES],
    /// Where each ends.
    ends: [usize; MAX_ESCAPE_BYTES],
    count: usize,
}

impl Ahead {
    fn of(text: &[u8]) -> Ahead {
        let mut ahead = Ahead { folded: [0; MAX_ESCAPE_BYTES], ends: [0; MAX_ESCAPE_BYTES], count: 0 };
        let seen = text.iter().enumerate().take(MAX_LOOK_BYTES).filter(|(_, byte)| is_seen(**byte));
        for (at, &byte) in seen.take(MAX_ESCAPE_BYTES) {
            ahead.folded[ahead.count] = fold(byte);
            ahead.ends[ahead.count] = at + 1;
            ahead.count += 1;
        }
        ahead
    }

    fn characters(&self) -> &[u8] {
        &self.folded[..self.count]
    }
}

/// Whether `byte` is more than a blank or a control.
fn is_seen(byte: u8) -> bool {
    byte > 0x20 && byte != 0x7f
}
