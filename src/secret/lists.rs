//! Reads a secret that a program has printed as a list of bytes, as in `[97 112]`, `ByteString(97, -61)`, `<<97,112>>`,
//! `{"0":97,"1":112}`, `0x61, 0x70`, `61-70` or `141 160`, or as one of characters, as in `[a, p]`, `['a', 'p']` or
//! `{"0":"a","1":"p"}`.
//!
//! Only for messages, and for the end of the output of a command that failed: too slow for each part of a stream.

use std::ops::Range;

use super::normalize::{GAP, Stream, fold, span};

/// The systems in which numbers are written: the radix, and the most digits of a byte.
const NOTATIONS: [(u32, usize); 4] = [(10, 3), (16, 2), (8, 4), (2, 8)];

/// A number in a text: the byte that it stands for, if it stands for one, and its position.
type Number = (Option<u8>, (u32, u32));

/// The bytes of the lists in `text` in all notations, if there are lists of at least `least` bytes. Every other number may
/// be an index, the fraction of a float, or the digits of a prefix or suffix, such as in `16#61` or `97u8`.
pub(super) fn streams(text: &[u8], least: usize) -> impl Iterator<Item = Stream> {
    let lists = NOTATIONS.iter().map(|&(radix, max_digits)| numbers(text, radix, max_digits));
    let long = lists.filter(move |numbers| numbers.len() >= least);
    let of_numbers =
        long.flat_map(|numbers| [(0, 1), (0, 2), (1, 2)].map(|(first, step)| stream(&numbers, first, step)));
    of_numbers.chain(std::iter::once_with(|| characters(text)))
}

/// The items of a list of single characters, without their indexes.
fn characters(text: &[u8]) -> Stream {
    let is_item = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || b"-._~+/".contains(byte);
    let is_between = |byte: &&u8| !matches!(byte, b' ' | b'"' | b'\'' | b'\\' | b']');
    let mut stream = Stream::default();
    let mut at = 0;
    while at < text.len() {
        let length = text[at..].iter().take_while(|byte| is_item(byte)).count();
        let end = at + length;
        let is_index =
            || text[at].is_ascii_digit() && matches!(text[end..].iter().find(is_between), Some(b':' | b'='));
        if length == 1 && !is_index() {
            stream.push(fold(text[at]), span(at, end));
        }
        at += length.max(1);
    }
    stream
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

fn numbers(text: &[u8], radix: u32, max_digits: usize) -> Vec<Number> {
    // Digits of several bytes may follow each other, and letters beside them make them a word.
    let is_hex = radix == 16;
    let read = |range: Range<usize>, is_negative| {
        let digits = std::str::from_utf8(&text[range]).ok().filter(|digits| digits.len() <= max_digits)?;
        byte(u32::from_str_radix(digits, radix).ok()?, is_negative)
    };
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let digits = text[at..].iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
        let range = at..at + digits;
        at += digits.max(1);
        if digits == 0 || (is_hex && is_word(text, &range)) {
            continue;
        }
        let (step, is_negative) =
            if is_hex { (max_digits, false) } else { (digits, is_signed(&text[..range.start])) };
        let is_odd = is_hex && digits > 1 && digits % 2 == 1;
        for from in range.clone().step_by(step) {
            let to = range.end.min(from + step);
            numbers.push((read(from..to, is_negative).filter(|_| !is_odd), span(from, to)));
        }
    }
    numbers
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
