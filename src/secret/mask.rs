//! Masks the secrets of the run in a stream, even if a secret is split between two reads.
//!
//! The end of the text so far may be the beginning of a secret. It is held back until more text arrives, or until the
//! reader has waited long enough ([`Mask::release`]). Enough of the text already passed on is remembered that the rest
//! of a secret is masked even if its beginning was released.

use std::ops::Range;
use std::sync::Arc;

use super::normalize::{MAX_GAP_BYTES, MAX_SEQUENCE_BYTES, Stream, TAGS, has_gap, is_introducer};
use super::patterns::{Extent, PIECE_CHARS, Patterns, merge};
use super::scan::{Scanner, is_beginning, is_cut_off_sequence};

/// Replaces a secret.
pub const MASK: &[u8] = b"***";

/// How much of the text that was passed on is remembered.
const CONTEXT_BYTES: usize = 2048;
/// The same for text with terminal sequences, which may be at each character of a token.
const COLORED_BYTES: usize = 8192;
/// Size of a piece that is searched closely, and of the text before it.
const CLOSE_LOOK_BYTES: usize = 1024;
/// Size of the text after such a piece.
const LOOK_AHEAD_BYTES: usize = 64;
/// The longest sequence that stands for one character, or for none, and may be cut off.
const MAX_CUT_BYTES: usize = MAX_SEQUENCE_BYTES;

/// The largest distance between the characters of an escape.
const MAX_LOOK_BYTES: usize = MAX_GAP_BYTES + MAX_CUT_BYTES;

/// The state of one stream.
pub struct Mask {
    patterns: Arc<Patterns>,
    /// The remembered text, followed by the text that is held back.
    buffer: Vec<u8>,
    /// Where the text that is held back begins in the buffer.
    decided: usize,
    /// The text passed on last was a mask.
    in_secret: bool,
    scanner: Scanner,
    /// How much of the buffer was scanned.
    scanned: usize,
    /// Parts with pieces of secrets, not yet resolved.
    suspects: Vec<Range<usize>>,
}

impl Mask {
    pub(super) fn new(patterns: Arc<Patterns>) -> Mask {
        let (buffer, suspects) = (Vec::new(), Vec::new());
        Mask {
            patterns,
            buffer,
            decided: 0,
            in_secret: false,
            scanner: Scanner::default(),
            scanned: 0,
            suspects,
        }
    }

    /// Takes more text, and appends the text that can be passed on to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.buffer.extend_from_slice(bytes);
        self.pushed(out);
    }

    /// The same of text that `read` appends to a buffer with room for at least `room` bytes. At most `limit` bytes of it
    /// are taken; returns their number.
    pub(crate) fn read<E>(
        &mut self,
        room: usize,
        limit: usize,
        read: impl FnOnce(&mut Vec<u8>) -> Result<usize, E>,
        out: &mut Vec<u8>,
    ) -> Result<usize, E> {
        // A buffer that grows leaves its old place behind, as memory that this process does not need.
        if self.buffer.capacity() - self.buffer.len() < room {
            self.buffer.reserve_exact(room + CONTEXT_BYTES + LOOK_AHEAD_BYTES);
        }
        let before = self.buffer.len();
        let length = read(&mut self.buffer)?.min(limit);
        self.buffer.truncate(before + length);
        self.pushed(out);
        Ok(length)
    }

    fn pushed(&mut self, out: &mut Vec<u8>) {
        if self.patterns.is_empty() {
            out.append(&mut self.buffer);
            return;
        }
        self.scan();
        self.pass_on(self.hold_from(), out);
    }

    pub fn is_holding(&self) -> bool {
        self.decided < self.buffer.len()
    }

    /// Appends the text that is held back to `out`.
    pub fn release(&mut self, out: &mut Vec<u8>) {
        // Text that is cut off is taken as it is.
        if self.scanned < self.buffer.len() {
            self.suspects.push(self.scanned..self.buffer.len());
        }
        self.pass_on(self.buffer.len(), out);
    }

    /// Appends to `out` what is held back if it ends a line, and shows too little of a secret that may go on in the
    /// next line to count as a piece of it.
    pub fn release_line(&mut self, out: &mut Vec<u8>) {
        let held = &self.buffer[self.decided..];
        let count = held.iter().filter(|byte| is_seen(**byte)).count();
        if held.ends_with(b"\n") && count < PIECE_CHARS {
            self.release(out);
        }
    }

    fn pass_on(&mut self, end: usize, out: &mut Vec<u8>) {
        let mut at = self.decided;
        for secret in self.find() {
            if secret.end <= at || secret.start >= end {
                continue;
            }
            let begin = secret.start.max(at);
            if begin > at {
                out.extend_from_slice(&self.buffer[at..begin]);
                self.in_secret = false;
            }
            // The mask of a secret that continues was already written.
            if !(self.in_secret && secret.start < self.decided) {
                out.extend_from_slice(MASK);
            }
            self.in_secret = true;
            at = secret.end;
        }
        if at < end {
            out.extend_from_slice(&self.buffer[at..end]);
            self.in_secret = false;
            at = end;
        }
        let forget = at.saturating_sub(self.reach_before(at, CONTEXT_BYTES));
        self.buffer.drain(..forget);
        self.decided = at - forget;
        self.scanned -= forget;
        self.suspects.retain_mut(|suspect| {
            *suspect = suspect.start.saturating_sub(forget)..suspect.end.saturating_sub(forget);
            suspect.end > self.decided
        });
    }

    /// How far back a token may reach from `at`; `usually` without terminal sequences.
    fn reach_before(&self, at: usize, usually: usize) -> usize {
        let has_sequence = memchr::memchr(0x1b, &self.buffer[at.saturating_sub(COLORED_BYTES)..at]).is_some();
        if has_sequence { COLORED_BYTES } else { usually }
    }

    fn scan(&mut self) {
        loop {
            let (taken, is_suspect) = self.scanner.take(&self.patterns, &self.buffer[self.scanned..]);
            let end = self.scanned + taken;
            if is_suspect {
                match self.suspects.last_mut() {
                    Some(last) if last.end == self.scanned => last.end = end,
                    _ => self.suspects.push(self.scanned..end),
                }
            }
            self.scanned = end;
            if taken == 0 {
                break;
            }
        }
    }

    /// The positions of secrets in the buffer.
    fn find(&self) -> Vec<Range<usize>> {
        let piece = |suspect: &Range<usize>| {
            let end = suspect.end;
            suspect
                .clone()
                .step_by(CLOSE_LOOK_BYTES)
                .map(move |from| from..(from + CLOSE_LOOK_BYTES).min(end))
        };
        let close_look = |suspect: Range<usize>| {
            let reach = self.reach_before(suspect.start, CLOSE_LOOK_BYTES);
            let begin = suspect.start.saturating_sub(reach);
            let end = (suspect.end + LOOK_AHEAD_BYTES).min(self.buffer.len());
            let found = self.patterns.find(&self.buffer[begin..end], Extent::Whole);
            found.into_iter().map(move |range| range.start + begin..range.end + begin)
        };
        merge(self.suspects.iter().flat_map(piece).flat_map(close_look).collect())
    }

    /// Where text begins that may be the beginning of a secret.
    fn hold_from(&self) -> usize {
        let last = self.buffer.iter().enumerate().rev().take(MAX_LOOK_BYTES);
        let last = last.filter(|(_, byte)| is_seen(**byte) || **byte == 0x1b).take(MAX_CUT_BYTES);
        let cut = last.map(|(at, _)| at).filter(|at| is_cut_off(&self.buffer[*at..])).last();
        let cut = cut.unwrap_or(self.buffer.len());
        self.beginning_before(cut).min(self.scanned).max(self.decided)
    }

    /// Where the beginning of a secret that ends at the end of the text, or goes on at `cut`, starts; `cut` if there is
    /// none.
    fn beginning_before(&self, cut: usize) -> usize {
        const FIRST_LOOK_BYTES: usize = 96;
        let mut looked_at = FIRST_LOOK_BYTES;
        loop {
            let begin = cut.saturating_sub(looked_at);
            let mut hold = cut;
            let mut may_be_longer = false;
            for stream in Stream::levels(&self.buffer[begin..]) {
                let whole = stream.bytes.len();
                let before_cut = stream.spans.partition_point(|(_, to)| begin + *to as usize <= cut);
                // An escape may reach beyond.
                let with_next = whole.min(before_cut + 1);
                let mut previous = None;
                for (count, end) in [(before_cut, cut), (with_next, cut), (whole, self.buffer.len())] {
                    if previous.replace(count) == Some(count) {
                        continue;
                    }
                    let characters = &stream.bytes[..count];
                    let length = self.patterns.beginning_at_end(characters);
                    if length > 0 {
                        let from = stream.spans[count - length].0 as usize + begin;
                        hold = hold.min(from);
                        // The text before it may be part of an escape.
                        may_be_longer |= from < begin + MAX_CUT_BYTES;
                    }
                    // Nothing behind a gap continues what is before it.
                    let last = stream.spans[..count].last().map_or(0, |(_, to)| *to as usize);
                    let ends_here = end.saturating_sub(begin + last) > MAX_GAP_BYTES || has_gap(characters);
                    may_be_longer |= !ends_here && self.may_begin_before(characters);
                }
            }
            if !may_be_longer || begin == 0 || looked_at == COLORED_BYTES {
                return hold;
            }
            looked_at = COLORED_BYTES.min(4 * looked_at);
        }
    }

    /// True if a longer text that ends in these characters may be the beginning of a secret.
    fn may_begin_before(&self, characters: &[u8]) -> bool {
        const FRONT_LOOK_CHARS: usize = 4;
        let count = characters.len();
        // All of it may be the public part of a token.
        count < PIECE_CHARS
            || (count < self.patterns.longest_beginning()
                && self.patterns.is_in_front(&characters[count.saturating_sub(FRONT_LOOK_CHARS)..]))
    }
}

/// True if `rest`, the end of the text, may be the beginning of a sequence that stands for one character, or for none.
fn is_cut_off(rest: &[u8]) -> bool {
    let is_alone = || !rest[1..].iter().any(|&byte| is_seen(byte));
    match rest[0] {
        // Escapes of escapes have many forms.
        first if is_introducer(first) => true,
        b'=' => is_alone(),
        b'<' => TAGS.iter().any(|tag| is_beginning(tag, rest)),
        0x1b => is_cut_off_sequence(rest),
        0xc2.. => std::str::from_utf8(rest)
            .is_err_and(|error| error.error_len().is_none() && error.valid_up_to() == 0),
        _ => false,
    }
}

/// True if `byte` is neither whitespace nor a control character.
fn is_seen(byte: u8) -> bool {
    byte > 0x20 && byte != 0x7f
}
