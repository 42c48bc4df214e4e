//! Normalizes text in which a server may have written a secret in another form.
//!
//! A [`Stream`] holds the text in lower case, without invisible parts (white space, control and format characters,
//! terminal sequences, line wraps), and the origin of each of its bytes. Each further level removes one layer of
//! escapes: percent, JSON, C and HTML. The time is linear in the length of the text: an escape has a maximum length,
//! and there are at most [`MAX_LEVELS`] levels.

use std::ops::Range;

use crate::sys::vector;

/// How many layers of escapes are removed: `%255Cu002d` has three.
pub(super) const MAX_LEVELS: usize = 4;
/// Characters with a larger gap between them do not belong together. This permits a secret that is wrapped into an
/// indented block, and limits the text that masking has to remember.
pub(super) const MAX_GAP_BYTES: usize = 256;
/// The longest escape: `&ZeroWidthSpace;`.
pub(super) const MAX_ESCAPE_BYTES: usize = 24;
/// The longest sequence of a terminal that is recognized.
pub(super) const MAX_SEQUENCE_BYTES: usize = 32;
/// How many bytes are searched one by one.
const NEAR_BYTES: usize = 16;
/// Stands for a gap. No secret contains it.
pub(super) const GAP: u8 = 0;

/// A text at one level.
#[derive(Default)]
pub(super) struct Stream<const HAS_SPANS: bool = true> {
    pub bytes: Vec<u8>,
    /// Where each byte begins and ends in the text.
    pub spans: Vec<(u32, u32)>,
    /// The end of the part that was pushed last.
    end: u32,
}

impl Stream {
    /// The text itself.
    pub(super) fn of(text: &[u8]) -> Stream {
        Stream::read(text, |_| 0)
    }

    /// The text without terminal sequences and line wraps; `None` if it has none.
    fn unwrapped(text: &[u8]) -> Option<Stream> {
        let is_wrap = |at: usize| unseen_length(&text[at..]) > 1;
        let candidates = memchr::memchr3_iter(b'=', b'\\', b'<', text);
        candidates
            .chain(memchr::memchr_iter(0x1b, text))
            .any(is_wrap)
            .then(|| Stream::read(text, unseen_length))
    }

    /// `left_out` returns the number of bytes to leave out at the beginning of a text.
    fn read(text: &[u8], left_out: fn(&[u8]) -> usize) -> Stream {
        let mut stream: Stream = Stream::default();
        stream.bytes.reserve(text.len());
        stream.spans.reserve(text.len());
        let mut at = 0;
        while at < text.len() {
            let length = match text[at] {
                0x21..=0x7e => match left_out(&text[at..]) {
                    0 => {
                        stream.push(fold(text[at]), span(at, at + 1));
                        1
                    }
                    length => length,
                },
                0x1b => left_out(&text[at..]).max(1),
                0..=0x20 | 0x7f => 1,
                byte @ 0x80.. => {
                    let (one, length) = first_char(&text[at..]);
                    match one {
                        Some(c) => stream.push_char(c, span(at, at + length)),
                        None => stream.push(byte, span(at, at + length)),
                    }
                    length
                }
            };
            at += length;
        }
        stream
    }

    /// All levels, beginning with the text itself.
    pub(super) fn levels(text: &[u8]) -> impl Iterator<Item = Stream> {
        // A secret that ends a line with its own `=`, or begins with the end of a sequence, is found in the text as it
        // is.
        let unwrapped = Stream::unwrapped(text);
        let as_it_stands = unwrapped.is_some().then(|| Stream::of(text));
        let mut next = Some(unwrapped.unwrap_or_else(|| Stream::of(text)));
        let mut left = MAX_LEVELS;
        let further = std::iter::from_fn(move || {
            let this = next.take()?;
            if left > 0 {
                left -= 1;
                let mut decoded = Stream::default();
                next = this.decode_into(&mut decoded).then_some(decoded);
            }
            Some(this)
        });
        as_it_stands.into_iter().chain(further)
    }
}

impl<const HAS_SPANS: bool> Stream<HAS_SPANS> {
    /// Writes the stream with one layer of escapes removed into `next`; returns false if it has none.
    pub(super) fn decode_into(&self, next: &mut Stream<HAS_SPANS>) -> bool {
        // Most streams are plain.
        let is_simple = self.bytes.is_ascii() && !has_gap(&self.bytes);
        let special = |rest: &[u8]| {
            if is_simple {
                // Most are near, and a call takes longer than that.
                let (near, far) = rest.split_at(rest.len().min(NEAR_BYTES));
                near.iter()
                    .position(|&byte| is_introducer(byte))
                    .or_else(|| Some(near.len() + memchr::memchr3(b'%', b'\\', b'&', far)?))
            } else {
                rest.iter().position(|&byte| is_introducer(byte) || byte >= 0x80 || byte == GAP)
            }
        };
        if special(&self.bytes).is_none() {
            return false;
        }
        next.clear();
        next.bytes.reserve(self.bytes.len());
        let mut changed = false;
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = &self.bytes[at..];
            // Escapes often follow each other.
            let plain = if is_introducer(rest[0]) { 0 } else { special(rest).unwrap_or(rest.len()) };
            if plain > 0 {
                next.push_plain(self, at..at + plain);
                at += plain;
                continue;
            }
            let (length, decoded) = match rest[0] {
                first if is_introducer(first) => match escape(&rest[..rest.len().min(MAX_ESCAPE_BYTES)]) {
                    Some((decoded, length)) => (length, decoded),
                    None => (1, Decoded::Byte(first)),
                },
                0x80.. => {
                    let (one, length) = first_char(rest);
                    (length, one.map_or(Decoded::Byte(rest[0]), Decoded::Char))
                }
                first => (1, Decoded::Byte(first)),
            };
            let from_to = self.span(at..at + length);
            changed |= length > 1 && rest[0] < 0x80;
            let before = next.bytes.len();
            match decoded {
                Decoded::Byte(GAP) if length == 1 => next.push(GAP, from_to),
                Decoded::Byte(byte) if byte > 0x20 && byte != 0x7f => next.push(fold(byte), from_to),
                Decoded::Byte(_) => {}
                Decoded::Char(c) => next.push_char(c, from_to),
            }
            // A character that turned out to be invisible at this level.
            changed |= next.bytes.len() == before;
            at += length;
        }
        changed
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
        self.end = 0;
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8, (from, to): (u32, u32)) {
        if from > self.end + span(0, MAX_GAP_BYTES).1 {
            self.bytes.push(GAP);
            self.add_span((from, from));
        }
        self.bytes.push(byte);
        self.add_span((from, to));
        self.end = to;
    }

    fn add_span(&mut self, from_to: (u32, u32)) {
        if HAS_SPANS {
            self.spans.push(from_to);
        }
    }

    fn span(&self, range: Range<usize>) -> (u32, u32) {
        if HAS_SPANS { (self.spans[range.start].0, self.spans[range.end - 1].1) } else { (0, 0) }
    }

    /// Copies bytes of `other` that stand for themselves.
    fn push_plain(&mut self, other: &Stream<HAS_SPANS>, range: Range<usize>) {
        self.push(other.bytes[range.start], other.span(range.start..range.start + 1));
        let rest = range.start + 1..range.end;
        self.end = other.span(range).1;
        self.bytes.extend_from_slice(&other.bytes[rest.clone()]);
        if HAS_SPANS {
            self.spans.extend_from_slice(&other.spans[rest]);
        }
    }

    fn push_char(&mut self, c: char, from_to: (u32, u32)) {
        if c.is_ascii_graphic() {
            self.push(fold(c as u8), from_to);
            return;
        }
        if c.is_whitespace() || is_invisible(c) {
            return;
        }
        if let Some(ascii) = seen_as(c) {
            self.push(fold(ascii), from_to);
            return;
        }
        let mut buffer = [0; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            self.push(byte, from_to);
        }
    }
}

pub(super) fn has_gap(characters: &[u8]) -> bool {
    memchr::memchr(GAP, characters).is_some()
}

pub(super) fn span(from: usize, to: usize) -> (u32, u32) {
    let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
    (narrow(from), narrow(to))
}

/// As [`vector::fold`], by a table.
pub(super) const fn fold(byte: u8) -> u8 {
    FOLDED[byte as usize]
}

static FOLDED: [u8; 256] = {
    let mut folded = [0; 256];
    let mut at = 0_u8;
    loop {
        folded[at as usize] = vector::fold(at);
        if at == u8::MAX {
            break folded;
        }
        at += 1;
    }
};

/// True if an escape may begin with `byte`.
pub(super) const fn is_introducer(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'&')
}

/// The UTF-8 character at the beginning of `text`, and its length; 1 if it is invalid.
fn first_char(text: &[u8]) -> (Option<char>, usize) {
    let length = match text[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let one = text.get(..length).and_then(|one| std::str::from_utf8(one).ok()?.chars().next());
    (one, if one.is_some() { length } else { 1 })
}

/// Characters without a width: controls, formats, and those that Unicode calls default ignorable.
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The ASCII character that this one is or looks like.
fn seen_as(c: char) -> Option<u8> {
    match c {
        // Hyphens and minus signs, which `&hyphen;` and word processors use for a dash.
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => Some(b'-'),
        // Full-width forms of ASCII.
        '\u{ff01}'..='\u{ff5e}' => u8::try_from(u32::from(c) - 0xfee0).ok(),
        c => u8::try_from(c).ok().filter(u8::is_ascii),
    }
}

/// The ASCII character that the multi-byte character at the beginning of `text` stands for, and its length.
pub(super) fn visible(text: &[u8]) -> Option<(u8, usize)> {
    let (one, length) = first_char(text);
    Some((fold(seen_as(one?)?), length))
}

/// The length of the invisible part or line wrap at the beginning of `text`.
fn unseen_length(text: &[u8]) -> usize {
    if text[0] == 0x1b { terminal_sequence_length(text) } else { wrap_length(text) }
}

/// HTML's ways to wrap a line.
pub(super) const TAGS: [&[u8]; 6] = [b"<br>", b"<br/>", b"<br />", b"<wbr>", b"<wbr/>", b"<wbr />"];

/// The length of the line wrap at the beginning of `text`: the soft line break of quoted-printable, a backslash at the
/// end of a line, or HTML's `<br>` and `<wbr>`.
pub(super) fn wrap_length(text: &[u8]) -> usize {
    match text[0] {
        b'=' | b'\\' if text[1..].starts_with(b"\n") => 2,
        b'=' | b'\\' if text[1..].starts_with(b"\r\n") => 3,
        b'<' => {
            let is_it =
                |tag: &&&[u8]| text.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag));
            TAGS.iter().find(is_it).map_or(0, |tag| tag.len())
        }
        _ => 0,
    }
}

/// The length of a terminal's control sequence (ECMA-48, 5.4), which begins with ESC; 1 for ESC alone.
pub(super) fn terminal_sequence_length(text: &[u8]) -> usize {
    if text.get(1) != Some(&b'[') {
        return 1;
    }
    let mut at = 2;
    while at < MAX_SEQUENCE_BYTES {
        match text.get(at) {
            Some(0x20..=0x3f) => at += 1,
            Some(0x40..=0x7e) => return at + 1,
            _ => break,
        }
    }
    1
}

/// The meaning of an escape.
#[derive(Clone, Copy)]
pub(super) enum Decoded {
    Byte(u8),
    Char(char),
}

/// The value of a digit in a folded text, or [`NO_DIGIT`].
static DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    digits
};
const NO_DIGIT: u8 = 16;

/// The meaning and length of the escape at the beginning of `text` (folded).
#[inline]
fn escape(text: &[u8]) -> Option<(Decoded, usize)> {
    // The most frequent ones first.
    match *text {
        [b'\\', one, ..] if one.is_ascii_punctuation() => Some((Decoded::Byte(one), 2)),
        [b'\\', ..] => backslash(text),
        [b'%', b'u', ..] => Some((code_point(hex(text.get(2..6)?)?), 6)),
        [b'%', high, low, ..] => {
            let (high, low) = (DIGITS[usize::from(high)], DIGITS[usize::from(low)]);
            (high.max(low) < NO_DIGIT).then_some((Decoded::Byte(high << 4 | low), 3))
        }
        [b'&', ..] => reference(text),
        _ => None,
    }
}

/// Escapes of JSON, C and Rust.
fn backslash(text: &[u8]) -> Option<(Decoded, usize)> {
    match *text.get(1)? {
        b'u' | b'x' if text.get(2) == Some(&b'{') => {
            let digits = text[3..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            (text.get(3 + digits) == Some(&b'}')).then_some(())?;
            Some((code_point(hex(&text[3..3 + digits])?), 4 + digits))
        }
        // `\U0000002d` is `\u` here, because the text is in lower case.
        b'u' if text.get(2..6) == Some(b"0000")
            && text.get(6..10).is_some_and(|four| hex(four).is_some()) =>
        {
            Some((code_point(hex(&text[6..10])?), 10))
        }
        b'u' => Some((code_point(hex(text.get(2..6)?)?), 6)),
        b'x' => Some((byte(hex(text.get(2..4)?)?), 4)),
        b'0'..=b'7' => {
            let octal = text.get(1..4).filter(|digits| digits.iter().all(|b| (b'0'..=b'7').contains(b)));
            match octal {
                Some(digits) => {
                    Some((byte(digits.iter().fold(0, |sum, b| sum * 8 + u32::from(b - b'0'))), 4))
                }
                None => (text[1] == b'0').then_some((Decoded::Byte(GAP), 2)),
            }
        }
        b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'a' | b'e' => Some((Decoded::Byte(b'\n'), 2)),
        _ => None,
    }
}

/// HTML's character references. A number may lack its semicolon, as in browsers.
fn reference(text: &[u8]) -> Option<(Decoded, usize)> {
    if text.get(1) == Some(&b'#') {
        let is_hex = text.get(2) == Some(&b'x');
        let begin = if is_hex { 3 } else { 2 };
        let digit = |byte: &&u8| if is_hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() };
        let end = begin + text[begin..].iter().take_while(digit).count();
        let value = number(&text[begin..end], if is_hex { 16 } else { 10 })?;
        return Some((code_point(value), end + usize::from(text.get(end) == Some(&b';'))));
    }
    text.get(1).filter(|byte| byte.is_ascii_lowercase())?;
    let end = text.iter().position(|&byte| byte == b';')?;
    let name = &text[1..end];
    let at = NAMED.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).ok()?;
    Some((Decoded::Char(NAMED[at].1), end + 1))
}

/// HTML's names for ASCII punctuation and invisible characters, in lower case.
#[rustfmt::skip]
const NAMED: &[(&str, char)] = &[
    ("amp", '&'), ("apos", '\''), ("ast", '*'), ("bsol", '\\'), ("colon", ':'), ("comma", ','),
    ("commat", '@'), ("dash", '-'), ("dollar", '$'), ("equals", '='), ("excl", '!'), ("grave", '`'),
    ("gt", '>'), ("hat", '^'), ("hyphen", '-'), ("lbrace", '{'), ("lbrack", '['), ("lcub", '{'),
    ("lowbar", '_'), ("lpar", '('), ("lrm", '\u{200e}'), ("lsqb", '['), ("lt", '<'), ("midast", '*'),
    ("minus", '-'), ("nbsp", '\u{a0}'), ("negativethinspace", '\u{200b}'), ("newline", '\n'), ("nobreak", '\u{2060}'),
    ("num", '#'), ("percnt", '%'), ("period", '.'), ("plus", '+'), ("quest", '?'), ("quot", '"'),
    ("rbrace", '}'), ("rbrack", ']'), ("rcub", '}'), ("rlm", '\u{200f}'), ("rpar", ')'), ("rsqb", ']'),
    ("semi", ';'), ("shy", '\u{ad}'), ("sol", '/'), ("tab", '\t'), ("tilde", '~'), ("underbar", '_'),
    ("verbar", '|'), ("vert", '|'), ("zerowidthspace", '\u{200b}'), ("zwj", '\u{200d}'), ("zwnj", '\u{200c}'),
];

/// At most eight digits, and at least one.
fn hex(digits: &[u8]) -> Option<u32> {
    number(digits, 16)
}

#[inline]
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let mut number = 0_u32;
    for &byte in digits {
        let digit = u32::from(DIGITS[usize::from(byte)]);
        number = number.checked_mul(radix)?.checked_add(digit)?;
        if digit >= radix {
            return None;
        }
    }
    (!digits.is_empty()).then_some(number)
}

fn byte(value: u32) -> Decoded {
    Decoded::Byte(u8::try_from(value).unwrap_or(GAP))
}

/// A value that is not a character (half of a surrogate pair) stands for nothing.
fn code_point(value: u32) -> Decoded {
    char::from_u32(value).map_or(Decoded::Byte(GAP), Decoded::Char)
}
