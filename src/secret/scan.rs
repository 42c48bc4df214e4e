//! Detects parts of secrets in a stream: fast, and it never misses one that [`Patterns::find`] finds.
//!
//! The visible bytes of a block are collected and searched. Only blocks with escapes or line wraps are searched again
//! without them.

use super::normalize::{MAX_LEVELS, MAX_SEQUENCE_BYTES, Stream, TAGS, fold, visible, wrap_length};
use super::patterns::{PIECE_CHARS, Patterns};
use crate::sys::vector::{CHUNK_BYTES, COPY_BYTES, Chunk};

const BLOCK_BYTES: usize = 4096;
/// How many characters before a block are remembered: more than a piece can take in escapes of escapes.
const REMEMBERED_CHARS: usize = 512;

/// With as many of them in a chunk, copying byte by byte is faster.
const MANY_STOPS: u32 = 12;

#[derive(Default)]
pub(super) struct Scanner {
    /// The characters of the last block, and some before it.
    seen: Stream<false>,
    /// Line wraps and terminal sequences: position and length.
    wraps: Vec<(usize, usize)>,
    /// The same characters without them, or without escapes. The room is kept.
    unwrapped: Stream<false>,
    decoded: [Stream<false>; 2],
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
        const ROOM_BYTES: usize = BLOCK_BYTES + CHUNK_BYTES + MAX_SEQUENCE_BYTES;
        let mut count = self.seen.bytes.len();
        self.seen.bytes.reserve_exact(REMEMBERED_CHARS + ROOM_BYTES - count);
        self.seen.bytes.resize(count + ROOM_BYTES, 0);
        let mut chunk = Chunk::EMPTY;
        let mut at = 0;
        while at < text.len().min(BLOCK_BYTES) {
            let (length, is_cut_off) = self.read_chunk(&mut chunk, &text[at..], &mut count);
            at += length;
            if is_cut_off {
                break;
            }
        }
        self.seen.bytes.truncate(count);
        at
    }

    /// Returns the number of bytes read, and true if the sequence behind them is cut off.
    #[inline]
    fn read_chunk(&mut self, chunk: &mut Chunk, text: &[u8], count: &mut usize) -> (usize, bool) {
        if let Some(bytes) = text.first_chunk() {
            chunk.read(bytes);
        } else {
            let mut last = [b' '; CHUNK_BYTES + 1];
            last[..text.len()].copy_from_slice(text);
            chunk.read(&last);
            // It may begin a tag.
            chunk.special |= u64::from(text.ends_with(b"<")) << (text.len() - 1);
        }
        let &mut Chunk { ref folded, unseen, special } = chunk;
        let stops = unseen | special;
        if stops == 0 {
            self.seen.bytes[*count..*count + CHUNK_BYTES].copy_from_slice(&folded[..CHUNK_BYTES]);
            *count += CHUNK_BYTES;
            return (text.len().min(CHUNK_BYTES), false);
        }
        let mut at = 0;
        if special == 0 && (MANY_STOPS..u64::BITS).contains(&stops.count_ones()) {
            for (at, &byte) in folded[..CHUNK_BYTES].iter().enumerate() {
                self.seen.bytes[*count] = byte;
                *count += usize::from(stops >> at & 1 == 0);
            }
            return (text.len().min(CHUNK_BYTES), false);
        }
        while at < CHUNK_BYTES {
            let plain = ((stops >> at).trailing_zeros() as usize).min(CHUNK_BYTES - at);
            let mut copied = 0;
            while copied < plain {
                let from = at + copied;
                let to = *count + copied;
                self.seen.bytes[to..to + COPY_BYTES].copy_from_slice(&folded[from..from + COPY_BYTES]);
                copied += COPY_BYTES;
            }
            *count += plain;
            at += plain;
            if at == CHUNK_BYTES {
                break;
            }
            at += if special >> at & 1 == 1 {
                match self.read_special(&text[at..], count) {
                    Some(sequence) => sequence,
                    None => return (at, true),
                }
            } else {
                (((!unseen | special) >> at).trailing_zeros() as usize).min(CHUNK_BYTES - at)
            };
        }
        (at.min(text.len()), false)
    }

    /// Reads a terminal sequence, or the ESC at the beginning of `text` alone. In one pass: with `terminal_sequence_length`,
    /// colored output takes 14 % longer.
    fn read_sequence(&mut self, text: &[u8], count: &mut usize) -> Option<usize> {
        if !text[1..].starts_with(b"[") {
            return (text.len() > 1).then_some(1);
        }
        let room = &mut self.seen.bytes[*count..*count + MAX_SEQUENCE_BYTES];
        room[0] = b'[';
        let mut length = 1;
        for at in 2..MAX_SEQUENCE_BYTES {
            let byte = *text.get(at)?;
            if !(0x20..=0x7e).contains(&byte) {
                break;
            }
            room[length] = fold(byte);
            length += usize::from(byte != b' ');
            if byte >= 0x40 {
                self.wraps.push((*count, length));
                *count += length;
                return Some(at + 1);
            }
        }
        Some(1)
    }

    fn read_special(&mut self, text: &[u8], count: &mut usize) -> Option<usize> {
        let (character, length) = match text[0] {
            0x1b => return self.read_sequence(text, count),
            b'=' | b'\\' if matches!(text, [_] | [_, b'\r']) => return None,
            b'<' if TAGS.iter().any(|tag| is_beginning(tag, text)) => return None,
            0x80.. => match std::str::from_utf8(&text[..text.len().min(3)]) {
                Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => return None,
                _ => match visible(text) {
                    Some(seen) => seen,
                    None => return Some(1),
                },
            },
            first => {
                let wrap = &text[..wrap_length(text)];
                if !wrap.is_empty() {
                    self.wraps.push((*count, wrap.iter().filter(|byte| byte.is_ascii_graphic()).count()));
                }
                (fold(first), 1)
            }
        };
        self.seen.bytes[*count] = character;
        *count += 1;
        Some(length)
    }

    /// True if there is part of a secret once escapes and line wraps are removed.
    fn escapes_hold(&mut self, patterns: &Patterns) -> bool {
        let mut this = &self.seen;
        if !self.wraps.is_empty() {
            unwrap(&self.seen, &self.wraps, &mut self.unwrapped);
            this = &self.unwrapped;
            if patterns.are_in(&this.bytes) {
                return true;
            }
        }
        let [from, to] = &mut self.decoded;
        if !this.decode_into(to) {
            return false;
        }
        for _ in 1..MAX_LEVELS {
            if patterns.are_in(&to.bytes) {
                return true;
            }
            std::mem::swap(from, to);
            if !from.decode_into(to) {
                return false;
            }
        }
        patterns.are_in(&to.bytes)
    }
}

/// Copies the characters of `seen` without the line wraps and terminal sequences.
fn unwrap(seen: &Stream<false>, wraps: &[(usize, usize)], unwrapped: &mut Stream<false>) {
    let seen = &seen.bytes;
    unwrapped.bytes.clear();
    unwrapped.bytes.reserve(seen.len());
    let mut at = 0;
    for &(wrap, length) in wraps {
        // One that begins inside a sequence is part of it: `\x1b[<br>`.
        if wrap >= at {
            unwrapped.bytes.extend_from_slice(&seen[at..wrap]);
            at = (wrap + length).min(seen.len());
        }
    }
    unwrapped.bytes.extend_from_slice(&seen[at..]);
}

pub(super) fn is_beginning(whole: &[u8], text: &[u8]) -> bool {
    text.len() < whole.len() && whole[..text.len()].eq_ignore_ascii_case(text)
}

pub(super) fn is_cut_off_sequence(text: &[u8]) -> bool {
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
    use crate::sys::vector::tests::texts;

    #[test]
    fn many_bytes_at_once_are_read_as_a_few_at_a_time() {
        const WHOLE: usize = CHUNK_BYTES + 1;
        let mut chunk = Chunk::EMPTY;
        for text in texts() {
            let mut read = |ends: &[usize]| {
                let mut scanner = Scanner::default();
                scanner.seen.bytes.resize(2 * WHOLE, 0);
                let (mut at, mut count) = (0, 0);
                for &end in ends {
                    let mut is_cut_off = false;
                    while at < end && !is_cut_off {
                        let (length, cut_off) = scanner.read_chunk(&mut chunk, &text[at..end], &mut count);
                        (at, is_cut_off) = (at + length, cut_off);
                    }
                }
                scanner.seen.bytes.truncate(count);
                (at, scanner.seen.bytes, scanner.wraps)
            };
            let piecewise = read(&[1, 2, 3, 15, 16, 17, CHUNK_BYTES - 1, CHUNK_BYTES, WHOLE]);
            assert_eq!(read(&[WHOLE]), piecewise, "{}", text.escape_ascii());
        }
    }
}
