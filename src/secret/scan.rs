//! Detects parts of secrets in a stream: fast, and it never misses one that [`Patterns::find`] finds.
//!
//! The visible bytes of a block are collected and searched. Only blocks with escapes or line wraps are searched again
//! without them.

use super::normalize::{
    MAX_LEVELS, MAX_SEQUENCE_BYTES, Stream, TAGS, fold, terminal_sequence_length, visible, wrap_length,
};
use super::patterns::{PIECE_CHARS, Patterns};

const BLOCK_BYTES: usize = 4096;
/// How many characters before a block are remembered: more than a piece can take in escapes of escapes.
const REMEMBERED_CHARS: usize = 512;
/// How many bytes are read in one step.
const AT_ONCE_BYTES: usize = 8;
/// Marks bytes that need a closer look.
const SPECIAL: u8 = 0x80;

/// How each byte is read: 0 for whitespace, controls and parts of multi-byte characters, which are skipped.
static SEEN: [u8; 256] = {
    let mut seen = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        seen[byte as usize] = fold(byte);
        byte += 1;
    }
    // These may begin a line wrap, a terminal sequence, or a character that stands for another.
    let special = b"=\\<\x1b\xe2\xef";
    let mut at = 0;
    while at < special.len() {
        seen[special[at] as usize] = SPECIAL;
        at += 1;
    }
    seen
};

#[derive(Default)]
pub(super) struct Scanner {
    /// The characters of the last block, and some before it.
    seen: Stream<()>,
    /// Line wraps and terminal sequences: position and length.
    wraps: Vec<(usize, usize)>,
}

/// Folds eight bytes in a register. Also returns how many of them, from the first on, are neither unseen nor special.
fn fold_eight(bytes: [u8; AT_ONCE_BYTES]) -> ([u8; AT_ONCE_BYTES], usize) {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; AT_ONCE_BYTES])
    }
    const TOP: u64 = all(0x80);
    let word = u64::from_le_bytes(bytes);
    let low = word & !TOP;
    // Each sets the top bit of the bytes of which it is true; no sum carries into the next byte.
    let at_least = |least: u8| (low + all(0x80 - least)) & TOP;
    let is = |byte: u8| !((low ^ all(byte)) + all(0x7f)) & TOP;
    // The byte behind the last one is not known.
    let before = |mask: u64| (mask >> 8) | (0x80 << 56);
    let unseen = (word & TOP) | (at_least(0x21) ^ TOP) | at_least(0x7f);
    let wraps_line = (is(b'=') | is(b'\\')) & before(unseen);
    let begins_tag = is(b'<') & before(is(b'b') | is(b'B') | is(b'w') | is(b'W'));
    let capital = at_least(b'A') & !at_least(b'Z' + 1);
    let plus = (is(b'+') >> 7) * u64::from(b'+' ^ b'-');
    let slash = (is(b'/') >> 7) * u64::from(b'/' ^ b'_');
    let folded = word ^ (capital >> 2) ^ plus ^ slash;
    let stops = unseen | wraps_line | begins_tag;
    (folded.to_le_bytes(), stops.trailing_zeros() as usize / AT_ONCE_BYTES)
}

enum Special {
    /// More bytes are needed to decide.
    CutOff,
    /// This many invisible bytes.
    Unseen(usize),
    /// The character that the first bytes stand for, and their number.
    Seen(u8, usize),
    /// A line wrap or terminal sequence of this many bytes.
    Wrap(usize),
}

impl Scanner {
    /// Takes the next block of a stream, without a sequence that is cut off at the end; returns its length, and whether
    /// part of a secret ends in it.
    pub(super) fn take(&mut self, patterns: &Patterns, text: &[u8]) -> (usize, bool) {
        self.forget();
        let before = self.seen.bytes.len();
        let taken = self.read(text);
        let is_suspect = patterns.has_odd_characters()
            || patterns.are_in(&self.seen.bytes[before.saturating_sub(PIECE_CHARS - 1)..])
            || self.escapes_hold(patterns);
        (taken, is_suspect && taken > 0)
    }

    fn forget(&mut self) {
        let forgotten = self.seen.bytes.len().saturating_sub(REMEMBERED_CHARS);
        self.seen.bytes.drain(..forgotten);
        self.wraps.retain_mut(|(at, _)| {
            let is_left = *at >= forgotten;
            *at = at.saturating_sub(forgotten);
            is_left
        });
    }

    fn read(&mut self, text: &[u8]) -> usize {
        let seen = &mut self.seen.bytes;
        let mut count = seen.len();
        let block_end = text.len().min(BLOCK_BYTES);
        seen.resize(count + block_end + AT_ONCE_BYTES, 0);
        let mut at = 0;
        while at < block_end {
            if let Some(bytes) = text[..block_end].get(at..at + AT_ONCE_BYTES) {
                let (folded, plain) = fold_eight(bytes.try_into().unwrap_or_default());
                seen[count..count + AT_ONCE_BYTES].copy_from_slice(&folded);
                count += plain;
                at += plain;
                for &byte in &bytes[plain..] {
                    let character = SEEN[usize::from(byte)];
                    if character == SPECIAL {
                        break;
                    }
                    seen[count] = character;
                    count += usize::from(character != 0);
                    at += 1;
                }
                if at == block_end || SEEN[usize::from(text[at])] != SPECIAL {
                    continue;
                }
            }
            let character = SEEN[usize::from(text[at])];
            if character != SPECIAL {
                seen[count] = character;
                count += usize::from(character != 0);
                at += 1;
                continue;
            }
            let (character, length) = match special(&text[at..]) {
                Special::CutOff => break,
                Special::Unseen(length) => (0, length),
                Special::Seen(character, length) => (character, length),
                Special::Wrap(length) => {
                    let is_seen = |byte: &&u8| byte.is_ascii_graphic();
                    self.wraps.push((count, text[at..at + length].iter().filter(is_seen).count()));
                    (if text[at] == 0x1b { 0 } else { fold(text[at]) }, 1)
                }
            };
            seen[count] = character;
            count += usize::from(character != 0);
            at += length;
        }
        seen.truncate(count);
        at
    }

    /// True if there is part of a secret once escapes and line wraps are removed.
    fn escapes_hold(&self, patterns: &Patterns) -> bool {
        let unwrapped = (!self.wraps.is_empty()).then(|| self.unwrapped());
        if unwrapped.as_ref().is_some_and(|stream| patterns.are_in(&stream.bytes)) {
            return true;
        }
        let mut next = unwrapped.as_ref().unwrap_or(&self.seen).decoded();
        for _ in 1..MAX_LEVELS {
            match &next {
                None => return false,
                Some(stream) if patterns.are_in(&stream.bytes) => return true,
                Some(stream) => next = stream.decoded(),
            }
        }
        next.is_some_and(|stream| patterns.are_in(&stream.bytes))
    }

    fn unwrapped(&self) -> Stream<()> {
        let mut stream = Stream::default();
        let mut at = 0;
        for &(wrap, length) in &self.wraps {
            // One that begins inside a sequence is part of it: `\x1b[<br>`.
            if wrap < at {
                continue;
            }
            stream.bytes.extend_from_slice(&self.seen.bytes[at..wrap]);
            at = (wrap + length).min(self.seen.bytes.len());
        }
        stream.bytes.extend_from_slice(&self.seen.bytes[at..]);
        stream
    }
}

/// The sequence that a special byte at the beginning of `text` introduces.
fn special(text: &[u8]) -> Special {
    let first = text[0];
    match first {
        0x1b => match terminal_sequence_length(text) {
            1 if is_cut_off_sequence(text) => Special::CutOff,
            1 => Special::Unseen(1),
            length => Special::Wrap(length),
        },
        b'=' | b'\\' if matches!(text, [_] | [_, b'\r']) => Special::CutOff,
        b'<' if TAGS.iter().any(|tag| is_cut_off(tag, text)) => Special::CutOff,
        0x80.. => match std::str::from_utf8(&text[..text.len().min(3)]) {
            Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => Special::CutOff,
            _ => visible(text)
                .map_or(Special::Unseen(1), |(character, length)| Special::Seen(character, length)),
        },
        _ => match wrap_length(text) {
            0 => Special::Seen(fold(first), 1),
            length => Special::Wrap(length),
        },
    }
}

fn is_cut_off(whole: &[u8], text: &[u8]) -> bool {
    text.len() < whole.len() && whole[..text.len()].eq_ignore_ascii_case(text)
}

fn is_cut_off_sequence(text: &[u8]) -> bool {
    match text {
        [_] => true,
        [_, b'[', parameters @ ..] => {
            text.len() < MAX_SEQUENCE_BYTES && parameters.iter().all(|byte| (0x20..=0x3f).contains(byte))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_at_once_are_read_as_one_by_one() {
        for (byte, next) in (0..=u8::MAX).flat_map(|byte| (0..=u8::MAX).map(move |next| (byte, next))) {
            let bytes = [b'x', byte, next, b'R', b'>', b'>', b'>', b'>'];
            let (folded, plain) = fold_eight(bytes);
            let stands_for = match SEEN[usize::from(byte)] {
                SPECIAL => match special(&bytes[1..]) {
                    Special::Seen(character, 1) => Some(character),
                    _ => None,
                },
                0 => None,
                character => Some(character),
            };
            // It may stop at what turns out to be plain, but not pass over anything else.
            assert!(plain >= 1 && folded[0] == b'x', "{bytes:?}");
            assert!(plain == 1 || stands_for == Some(folded[1]), "{bytes:?}");
            assert!(plain > 1 || stands_for.is_none() || SEEN[usize::from(byte)] == SPECIAL, "{bytes:?}");
        }
    }
}
