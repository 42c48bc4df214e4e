//! What surrounds a secret, as it may be shown.

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

/// What stands in the place of a secret.
pub const REDACTED: &str = "REDACTED";

/// `url` as it may be shown: without the value of any `access_token`, and without a password.
pub fn redact_url(url: &Url) -> String {
    let mut shown = url.clone();
    if shown.password().is_some() {
        // Only URLs that cannot have a password refuse one.
        let _ = shown.set_password(Some(REDACTED));
    }
    redact_text(shown.as_str())
}

/// `text` with the value of each `access_token=` replaced, and what else `text` has kept. For foreign
/// text, which may repeat our request.
pub fn redact_text(text: &str) -> String {
    const PARAMETER: &str = "access_token";
    // How a value begins in a URL, in an escaped URL, and in JSON.
    let introduction = |rest: &str| {
        let trimmed = rest.trim_start_matches('"').trim_start();
        let value = ["=", "%3D", ":"].iter().find_map(|mark| trimmed.strip_prefix(mark))?;
        Some(rest.len() - value.trim_start().trim_start_matches('"').len())
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PARAMETER) {
        let name_end = at + PARAMETER.len();
        let value_at = name_end + introduction(&rest[name_end..]).unwrap_or_default();
        let (before, value) = rest.split_at(value_at);
        if value_at == name_end {
            out.push_str(before);
            rest = value;
            continue;
        }
        let end = value
            .find(|c: char| c == '&' || c == '#' || c.is_whitespace() || c == '"')
            .unwrap_or(value.len());
        out.push_str(before);
        out.push_str(if end == 0 { "" } else { REDACTED });
        rest = &value[end..];
    }
    out.push_str(rest);
    redact_service_tokens(&redact_jwts(&out))
}

/// Replaces what identifies itself as a service token: `svctok-…`, and the secret half of `gt-KEY.SECRET`.
fn redact_service_tokens(text: &str) -> String {
    let end_of_word = |text: &str| {
        text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(text.len())
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["gt-", "svctok-"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let (before, candidate) = rest.split_at(at);
        out.push_str(before);
        let length = end_of_word(candidate);
        let (word, after) = candidate.split_at(length);
        rest = after;
        if word.starts_with("svctok-") {
            out.push_str("svctok-");
            out.push_str(REDACTED);
            continue;
        }
        out.push_str(word);
        if let Some(secret) = rest.strip_prefix('.').filter(|secret| end_of_word(secret) > 0) {
            out.push('.');
            out.push_str(REDACTED);
            rest = &secret[end_of_word(secret)..];
        }
    }
    out.push_str(rest);
    out
}

/// Replaces the signature of everything that has the shape of a JWT (RFC 7519: three base64url parts,
/// the first two objects, so `eyJ…`): a service may repeat our token in its error, also only its end.
fn redact_jwts(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("eyJ") {
        let (before, candidate) = rest.split_at(at);
        out.push_str(before);
        let end = candidate
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .unwrap_or(candidate.len());
        let word = &candidate[..end];
        match word.split_once('.').filter(|(_, rest)| !rest.trim_matches('.').is_empty()) {
            None => out.push_str(word),
            Some((header, rest)) => {
                out.push_str(header);
                out.push('.');
                // Without claims next to it, the first part was the claims, and its header is cut off.
                if let Some((claims, signature)) = rest.split_once('.')
                    && claims.starts_with("eyJ")
                    && !signature.is_empty()
                {
                    out.push_str(claims);
                    out.push('.');
                }
                out.push_str(REDACTED);
            }
        }
        rest = &candidate[end..];
    }
    out.push_str(rest);
    out
}

/// The shortest piece of a secret that is replaced where `bytes` begin or end in the middle of it.
const MIN_PIECE_BYTES: usize = 8;

/// `bytes` with every occurrence of one of `secrets` replaced, also one that is cut off at the beginning
/// or at the end.
pub fn redact_bytes(bytes: &[u8], secrets: &[SecretString]) -> Vec<u8> {
    let secrets: Vec<&[u8]> = secrets
        .iter()
        .map(|secret| secret.expose_secret().as_bytes())
        .filter(|secret| !secret.is_empty())
        .collect();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let whole = secrets.iter().filter(|secret| rest.starts_with(secret)).map(|secret| secret.len());
        let cut = || secrets.iter().filter_map(|secret| cut_off(rest, secret, at == 0)).max();
        if let Some(length) = whole.max().or_else(cut) {
            out.extend_from_slice(REDACTED.as_bytes());
            at += length;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// How much of `rest` is a piece of `secret`: its beginning, if that is all of `rest`, or its end, if
/// `rest` is where the text begins.
fn cut_off(rest: &[u8], secret: &[u8], at_beginning: bool) -> Option<usize> {
    let ends_in_it = rest.len() >= MIN_PIECE_BYTES && secret.starts_with(rest);
    let begins_in_it = || (1..secret.len()).map(|from| &secret[from..]).find(|end| rest.starts_with(end));
    if ends_in_it {
        Some(rest.len())
    } else if at_beginning {
        begins_in_it().map(<[u8]>::len).filter(|&length| length >= MIN_PIECE_BYTES)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_values_and_passwords_are_replaced_in_urls() {
        let url: Url = "https://u:pw@h/p?a=1&access_token=s3cret&b=2".parse().unwrap();
        assert_eq!(redact_url(&url), "https://u:REDACTED@h/p?a=1&access_token=REDACTED&b=2");
    }

    #[test]
    fn signatures_are_replaced_in_foreign_text() {
        assert_eq!(redact_text("bad eyJhbGciOi.eyJpc3M.c2ln!"), "bad eyJhbGciOi.eyJpc3M.REDACTED!");
        assert_eq!(redact_text("eyJhbGciOi.eyJpc3M.c2ln.x"), "eyJhbGciOi.eyJpc3M.REDACTED");
        assert_eq!(redact_text("yJhb.eyJpc3M.c2ln."), "yJhb.eyJpc3M.REDACTED");
        assert_eq!(redact_text("eyJhb.. eyJ."), "eyJhb.. eyJ.");
        assert_eq!(redact_text("…bGci.eyJpc3M.c2ln!"), "…bGci.eyJpc3M.REDACTED!");
        assert_eq!(redact_text("no eyJ here.or"), "no eyJ here.or");
        assert_eq!(redact_text("access_token="), "access_token=");
        assert_eq!(redact_text("no gt-abc.def, svctok-a-b! gt-"), "no gt-abc.REDACTED, svctok-REDACTED! gt-");
    }

    #[test]
    fn secrets_are_replaced_in_bytes() {
        let secrets = [SecretString::from("abc"), SecretString::from("")];
        assert_eq!(redact_bytes(b"\xffabcab", &secrets), b"\xffREDACTEDab");
    }

    #[test]
    fn a_secret_that_is_cut_off_is_replaced_too() {
        let secrets = [SecretString::from("0123456789abcdef")];
        for (text, shown) in [
            (&b"6789abcdef and 0123456789abcde"[..], &b"REDACTED and REDACTED"[..]),
            (b"456789abcdef0123456789abcdef", b"REDACTEDREDACTED"),
            (b"9abcdef and 0123456", b"9abcdef and 0123456"),
            (b"x 6789abcdef", b"x 6789abcdef"),
            (b"123456789abcde", b"123456789abcde"),
        ] {
            assert_eq!(redact_bytes(text, &secrets), shown, "{}", text.escape_ascii());
        }
    }
}
