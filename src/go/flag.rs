//! Flags as Go reads them: `flag/flag.go` (`FlagSet.parseOne`) and `strconv/atob.go` (`ParseBool`) of Go 1.26.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word<'a> {
    /// Not a flag. In Go, the flags end before it.
    Operand,
    /// `--`: the flags end after it.
    EndOfFlags,
    /// `-name`, `--name`, `-name=value` or `--name=value`.
    Flag { name: &'a [u8], value: Option<&'a OsStr> },
    /// Dashes without a name.
    Invalid,
}

impl Word<'_> {
    pub(crate) fn read(word: &OsStr) -> Word<'_> {
        let bytes = word.as_bytes();
        let body = match bytes {
            b"--" => return Word::EndOfFlags,
            [b'-', b'-', body @ ..] | [b'-', body @ ..] if bytes.len() > 1 => body,
            _ => return Word::Operand,
        };
        if let [] | [b'-' | b'=', ..] = body {
            return Word::Invalid;
        }
        match body.iter().position(|&byte| byte == b'=') {
            Some(at) => Word::Flag { name: &body[..at], value: Some(OsStr::from_bytes(&body[at + 1..])) },
            None => Word::Flag { name: body, value: None },
        }
    }
}

/// A boolean; `None` if Go would refuse the word.
pub fn parse_bool(word: &OsStr) -> Option<bool> {
    match word.as_bytes() {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Some(false),
        _ => None,
    }
}
