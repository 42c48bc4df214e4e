//! Reads a secret that a program has printed as a list of bytes, as in `[97 112]`, `ByteString(97, -61)`, `<<97,112>>`,
//! `{"0":97,"1":112}`, `0x61, 0x70`, `61-70` or `141 160`.
//!
//! Only for messages, and for the end of the output of a command that failed: too slow for each part of a stream.

use std::ops::Range;

use super::normalize::{GAP, Stream, fold, span};

/// A system in which numbers are written.
struct Notation {
    radix: u32,
    /// The most digits of a byte.
    max_digits: usize,
    /// Digits of several bytes may follow each other, and letters beside them make them a word.
    is_hex: bool,
}

const NOTATIONS: [Notation; 4] = [
    Notation { radix: 10, max_digits: 3, is_hex: false },
    Notation { radix: 16, max_digits: 2, is_hex: true },
    Notation { radix: 8, max_digits: 4, is_hex: false },
    Notation { radix: 2, max_digits: 8, is_hex: false },
];

/// A number in a text: the byte that it stands for, if it stands for one, and its position.
type Number = (Option<u8>, (u32, u32));

/// The bytes of the lists in `text` in all notations, if there are lists of at least `least` bytes. Every other number may
/// be an index, the fraction of a float, or the digits of a prefix or suffix, such as in `16#61` or `97u8`.
pub(super) fn streams(text: &[u8], least: usize) -> impl Iterator<Item = Stream> {
    let lists = NOTATIONS.iter().map(|notation| notation.numbers(text));
    let long = lists.filter(move |numbers| numbers.len() >= least);
    long.flat_map(|numbers| [(0, 1), (0, 2), (1, 2)].map(|(first, step)| stream(&numbers, first, step)))
}

fn stream(numbers: &[Number], first: usize, step: usize) -> Stream {
    let mut stream = Stream::default();
    for (byte, from_to) in numbers.iter().skip(first).step_by(step) {
        match byte {
            Some(byte) if is_kept(*byte) => stream.push(fold(*byte), *from_to),
            Some(_) => {}
            None => stream.push(GAP, *from_to),
        }
    }
    stream
}

/// False for bytes that the other streams do not have either, such as each other byte of UTF-16.
pub(super) fn is_kept(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f
}

impl Notation {
    fn numbers(&self, text: &[u8]) -> Vec<Number> {
        let mut numbers = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let digits = text[at..].iter().take_while(|byte| self.is_digit(**byte)).count();
            if digits == 0 {
                at += 1;
                continue;
            }
            let range = at..at + digits;
            at += digits;
            if !self.is_hex {
                let value = self.value(&text[range.clone()]).filter(|_| digits <= self.max_digits);
                let is_negative = is_signed(&text[..range.start]);
                numbers
                    .push((value.and_then(|value| byte(value, is_negative)), span(range.start, range.end)));
            } else if !is_word(text, &range) {
                let is_odd = digits % 2 == 1;
                for from in range.clone().step_by(self.max_digits) {
                    let to = range.end.min(from + self.max_digits);
                    let value = self.value(&text[from..to]).filter(|_| !is_odd || digits == 1);
                    numbers.push((value.and_then(|value| byte(value, false)), span(from, to)));
                }
            }
        }
        numbers
    }

    fn is_digit(&self, byte: u8) -> bool {
        char::from(byte).is_digit(self.radix)
    }

    fn value(&self, digits: &[u8]) -> Option<u32> {
        std::str::from_utf8(digits).ok().and_then(|digits| u32::from_str_radix(digits, self.radix).ok())
    }
}

/// True if a minus sign stands before the number: Java's bytes have one. Between two numbers, it is a dash.
fn is_signed(before: &[u8]) -> bool {
    matches!(before, [.., before, b'-'] if !before.is_ascii_alphanumeric()) || before == b"-"
}

fn byte(value: u32, is_negative: bool) -> Option<u8> {
    let value = u8::try_from(value).ok()?;
    if is_negative { Some(value.wrapping_neg()).filter(|_| value <= 0x80) } else { Some(value) }
}

/// True if the digits in this range are part of a word. `0x61` and `61h` are none.
fn is_word(text: &[u8], range: &Range<usize>) -> bool {
    let before = range.start.checked_sub(1).map(|at| text[at]);
    let is_letter = |byte: &u8, allowed: &[u8]| byte.is_ascii_alphabetic() && !allowed.contains(byte);
    before.is_some_and(|byte| is_letter(&byte, b"xX"))
        || text.get(range.end).is_some_and(|byte| is_letter(byte, b"xXhH"))
}
