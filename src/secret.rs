//! Secrets: tokens and keys that must not be shown, and ways to show what surrounds them.

use std::ops::Range;

use reqwest::Url;
pub use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

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
    const PARAMETER: &str = "access_token=";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PARAMETER) {
        let (before, value) = rest.split_at(at + PARAMETER.len());
        let end = value
            .find(|c: char| c == '&' || c == '#' || c.is_whitespace() || c == '"')
            .unwrap_or(value.len());
        out.push_str(before);
        out.push_str(if end == 0 { "" } else { REDACTED });
        rest = &value[end..];
    }
    out.push_str(rest);
    redact_jwts(&out)
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

/// `bytes` with every occurrence of one of `secrets` replaced.
pub fn redact_bytes(bytes: &[u8], secrets: &[SecretString]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let found = secrets
            .iter()
            .map(|secret| secret.expose_secret().as_bytes())
            .find(|secret| !secret.is_empty() && bytes[at..].starts_with(secret));
        if let Some(secret) = found {
            out.extend_from_slice(REDACTED.as_bytes());
            at += secret.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Overwrites the value of `variable` in the environment block that the kernel shows in
/// `/proc/PID/environ`. The variable itself stays, with zero bytes for a value.
pub fn zero_in_environment(variable: &str) {
    unsafe extern "C" {
        static environ: *const *mut libc::c_char;
    }
    // SAFETY: called before any other thread exists; `environ` is a null-terminated array of pointers
    // to NUL-terminated strings, which are ours to write to (POSIX, `environ`).
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = libc::strlen(*entry);
            let bytes = std::slice::from_raw_parts_mut((*entry).cast::<u8>(), length);
            if let Some(value) = value_range(bytes, variable) {
                bytes[value].zeroize();
            }
            entry = entry.add(1);
        }
    }
}

fn value_range(entry: &[u8], variable: &str) -> Option<Range<usize>> {
    let rest = entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"=")?;
    Some(entry.len() - rest.len()..entry.len())
}

/// Overwrites the part of the stack below the caller, where functions that have returned left copies
/// of a key.
#[inline(never)]
pub fn scrub_stack() {
    const SCRUBBED_BYTES: usize = 64 * 1024;
    #[expect(clippy::large_stack_arrays, reason = "the stack is what is overwritten")]
    let mut garbage = [0xA5_u8; SCRUBBED_BYTES];
    garbage.zeroize();
    std::hint::black_box(&garbage);
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
    }

    #[test]
    fn secrets_are_replaced_in_bytes() {
        let secrets = [SecretString::from("abc"), SecretString::from("")];
        assert_eq!(redact_bytes(b"\xffabcab", &secrets), b"\xffREDACTEDab");
    }
}
