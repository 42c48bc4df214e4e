//! The second line of defense: text that looks like a token is replaced, even if it is not one of this run's. A single
//! pass, so the time is linear.

/// Replaces a secret.
pub const REDACTED: &str = "REDACTED";

/// Replaces the value of each `access_token=`, the signature of each JWT, the secret part of each service token, the
/// private members of each JWK, and the content of each private key in PEM.
pub(super) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = next_shape(text, at) {
        if let Some((from, to)) = found.secret {
            out.push_str(&text[copied..from]);
            out.push_str(REDACTED);
            copied = to;
        }
        at = found.end;
    }
    out.push_str(&text[copied..]);
    out
}

/// Text that begins like a token.
struct Shape {
    /// The position of its secret, if it has one.
    secret: Option<(usize, usize)>,
    /// Where the search continues: after the beginning of the shape.
    end: usize,
}

fn next_shape(text: &str, from: usize) -> Option<Shape> {
    let bytes = text.as_bytes();
    (from..bytes.len()).find_map(|at| match bytes[at] {
        b'a' if bytes[at..].starts_with(b"access_token") => Some(parameter(text, at)),
        b'e' if bytes[at..].starts_with(b"eyJ") => Some(jwt(text, at)),
        b'g' if bytes[at..].starts_with(b"gt-") => Some(gafaelfawr_token(text, at)),
        b's' if bytes[at..].starts_with(b"svctok-") => Some(stackstate_token(text, at)),
        b'"' => private_member(text, at),
        b'B' if bytes[at..].starts_with(b"BEGIN ") => private_key(text, at),
        _ => None,
    })
}

/// `access_token=VALUE`, in a URL, in an escaped URL, or in JSON.
fn parameter(text: &str, at: usize) -> Shape {
    let name_end = at + "access_token".len();
    let rest = &text[name_end..];
    let trimmed = rest.trim_start_matches('"').trim_start();
    let Some(value) = ["=", "%3D", "%3d", ":"].iter().find_map(|mark| trimmed.strip_prefix(mark)) else {
        return Shape { secret: None, end: name_end };
    };
    let value = value.trim_start().trim_start_matches('"');
    let begin = text.len() - value.len();
    let ends = |c: char| c == '&' || c == '#' || c.is_whitespace() || c == '"';
    let end = begin + value.find(ends).unwrap_or(value.len());
    Shape { secret: (end > begin).then_some((begin, end)), end: end.max(name_end) }
}

/// RFC 7519: three base64url parts, of which the first two are objects, so they begin with `eyJ`. An error may quote
/// only the end of a token: if there are no claims after the first part, that part was the claims.
fn jwt(text: &str, at: usize) -> Shape {
    let end = end_of_word(text, at, |c| is_word(c) || c == '.');
    let word = &text[at..end];
    let secret = word.split_once('.').filter(|(_, rest)| !rest.trim_matches('.').is_empty());
    let secret = secret.map(|(header, rest)| match rest.split_once('.') {
        Some((claims, signature)) if claims.starts_with("eyJ") && !signature.is_empty() => {
            at + header.len() + 1 + claims.len() + 1
        }
        _ => at + header.len() + 1,
    });
    Shape { secret: secret.map(|from| (from, end)), end }
}

/// `gt-KEY.SECRET`.
fn gafaelfawr_token(text: &str, at: usize) -> Shape {
    let key_end = end_of_word(text, at, is_word);
    if text.as_bytes().get(key_end) != Some(&b'.') {
        return Shape { secret: None, end: key_end };
    }
    // More parts make it a JWT whose header is taken for the key.
    let end = end_of_word(text, key_end + 1, |c| is_word(c) || c == '.');
    let end = key_end + 1 + text[key_end + 1..end].trim_end_matches('.').len();
    Shape { secret: (end > key_end + 1).then_some((key_end + 1, end)), end }
}

/// `svctok-SECRET`.
fn stackstate_token(text: &str, at: usize) -> Shape {
    let begin = at + "svctok-".len();
    let end = end_of_word(text, begin, is_word);
    Shape { secret: Some((begin, end)), end }
}

/// `"d":"VALUE"`, or another private member of a JWK (RFC 7518, 6.2.2 and 6.3.2). Its quotation marks may be escaped.
fn private_member(text: &str, at: usize) -> Option<Shape> {
    const NAMES: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];
    /// The `d` of the smallest keys has 43 characters, and a message may quote only its beginning.
    const SHORTEST: usize = 20;
    fn mark(text: &str) -> Option<&str> {
        text.trim_start_matches('\\').strip_prefix('"')
    }
    let rest = &text[at + 1..];
    let rest = NAMES.iter().find_map(|name| mark(rest.strip_prefix(name)?))?;
    let value = mark(rest.trim_start().strip_prefix(':')?.trim_start())?;
    let begin = text.len() - value.len();
    let end = end_of_word(text, begin, is_word);
    (end - begin >= SHORTEST).then_some(Shape { secret: Some((begin, end)), end })
}

/// `-----BEGIN … PRIVATE KEY-----` (RFC 7468, 10 and 11, and older labels). Its end may be missing.
fn private_key(text: &str, at: usize) -> Option<Shape> {
    /// The longest one that is used is `OPENSSH PRIVATE KEY`.
    const MAX_LABEL_BYTES: usize = 40;
    let near = &text.as_bytes()[at..text.len().min(at + MAX_LABEL_BYTES)];
    let label =
        at + memchr::memmem::find(near, b"-----").filter(|&end| near[..end].ends_with(b"PRIVATE KEY"))?;
    let begin = label + "-----".len();
    let end = text[begin..].find("-----END").map_or(text.len(), |length| begin + length);
    Some(Shape { secret: (end > begin).then_some((begin, end)), end })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

fn end_of_word(text: &str, at: usize, is_in: impl Fn(char) -> bool) -> usize {
    at + text[at..].find(|c| !is_in(c)).unwrap_or(text.len() - at)
}

/// True if each part of a path looks like a file name: one that `key generate` makes, or words and numbers joined by
/// dashes, underscores or dots.
pub(crate) fn is_file_name(text: &[u8]) -> bool {
    /// How many characters may be neither words nor numbers, such as `EdDSA`.
    const MAX_OTHERS: usize = 10;
    const GENERATED: &[u8] = b"jwk_sig_";
    let names = text.split(|&byte| byte == b'/').filter(|name| !name.starts_with(GENERATED));
    let words = names.flat_map(|name| name.split(|byte| matches!(byte, b'-' | b'_' | b'.')));
    words.filter(|word| !is_plain(word)).map(<[u8]>::len).sum::<usize>() <= MAX_OTHERS
}

/// True for letters in one case, except perhaps for the first, with perhaps a number behind them; and for a number alone.
fn is_plain(text: &[u8]) -> bool {
    /// A longer word may be a token in one case.
    const MAX_WORD_CHARS: usize = 24;
    let letters = text.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let (letters, number) = text.split_at(letters);
    let rest = letters.get(1..).unwrap_or_default();
    let is_one_case = rest.iter().all(u8::is_ascii_lowercase) || letters.iter().all(u8::is_ascii_uppercase);
    text.len() <= MAX_WORD_CHARS && is_one_case && number.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::{is_file_name, redact};

    #[test]
    fn a_token_is_told_from_the_name_of_a_file() {
        for name in
            ["admin-token.json", "token_2024-01-01.bak", "STS-Token", "EdDSA_monitoring1", "tokenfile"]
        {
            assert!(is_file_name(name.as_bytes()), "{name}");
        }
        for token in [
            "8UaK74tbRebApWbgi4s0jt7e5uWHAOm8",
            "Zq3-vU8_xT5.kR0mN7pL2wJ9yH4",
            "0b6a0c1e-3a43-4d0b-8d3e-0f6b0a3f1b1a",
            "abcdefghijklmnopqrstuvwxyzabcdef",
            "JBSWY3DPEHPK3PXPJBSW",
        ] {
            assert!(!is_file_name(token.as_bytes()), "{token}");
        }
    }

    #[test]
    fn text_that_looks_like_a_token_is_replaced() {
        for (text, shown) in [
            ("bad eyJhbGciOi.eyJpc3M.c2ln!", "bad eyJhbGciOi.eyJpc3M.REDACTED!"),
            ("eyJhbGciOi.eyJpc3M.c2ln.x", "eyJhbGciOi.eyJpc3M.REDACTED"),
            ("yJhb.eyJpc3M.c2ln.", "yJhb.eyJpc3M.REDACTED"),
            ("eyJhb.. eyJ.", "eyJhb.. eyJ."),
            ("…bGci.eyJpc3M.c2ln!", "…bGci.eyJpc3M.REDACTED!"),
            ("no eyJ here.or", "no eyJ here.or"),
            ("access_token=", "access_token="),
            ("access_token access_token=x y", "access_token access_token=REDACTED y"),
            (
                "access_token%3dx&y {\"access_token\": \"x\"}",
                "access_token%3dREDACTED&y {\"access_token\": \"REDACTED\"}",
            ),
            ("no gt-abc.def, svctok-a-b! gt-", "no gt-abc.REDACTED, svctok-REDACTED! gt-"),
            ("gt-eyJhbGciOi.eyJpc3M.c2ln. gt-abc.def.", "gt-eyJhbGciOi.REDACTED. gt-abc.REDACTED."),
            (
                r#"{"x":"abcdefghijklmnopqrstuvwxyz","d" : "abcdefghijklmnopqrstuvwxyz","qi":"abcdefghijklmnopqrst…"#,
                r#"{"x":"abcdefghijklmnopqrstuvwxyz","d" : "REDACTED","qi":"REDACTED…"#,
            ),
            (r#"{\"d\":\"abcdefghijklmnopqrst\"} {"d":"short"}"#, r#"{\"d\":\"REDACTED\"} {"d":"short"}"#),
        ] {
            assert_eq!(redact(text), shown);
        }
    }
}
