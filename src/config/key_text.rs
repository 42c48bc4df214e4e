//! Detects a key where the path of a key belongs. No error may show it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use crate::read::BYTE_ORDER_MARK;
use crate::secret::is_file_name;

/// The `d` of an Ed25519 key has 43 characters.
const SHORTEST_SECRET: usize = 40;

/// True if the text is not a path: it may be a key, or a URL with a credential.
pub(crate) fn may_hold_a_secret(text: &OsStr) -> bool {
    is_inline_jwk(text) || looks_like_a_key(text) || is_url(text)
}

pub(super) fn is_inline_jwk(text: &OsStr) -> bool {
    let text = text.as_bytes();
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).trim_ascii_start().starts_with(b"{")
}

/// True if the text is more likely to be PEM, base64 of a key, a bare `d`, a damaged JWK, or one of these after a
/// prefix such as `@` or `file://`, than a path.
pub(super) fn looks_like_a_key(text: &OsStr) -> bool {
    let decoded = Zeroizing::new(percent_decode(text.as_bytes()).collect::<Vec<u8>>());
    let text_bytes = decoded.trim_ascii();
    let damaged = text_bytes.iter().any(|byte| matches!(byte, b'{' | b'"' | b'\n'))
        || text_bytes.windows(5).any(|window| window == b"-----");
    (damaged || holds_base64(text_bytes)) && Path::new(text).symlink_metadata().is_err()
}

/// Describes the damage to a text that `looks_like_a_key` only because of it. (A key in quotation marks may be a JWK.)
pub(super) fn damage(text: &OsStr) -> Option<&'static str> {
    let contains = |part: &[u8]| text.as_bytes().windows(part.len()).any(|window| window == part);
    match text.as_bytes().trim_ascii() {
        [b'"', .., b'"'] | [b'\'', .., b'\''] => Some("the value is in quotation marks; remove them"),
        bytes if bytes.contains(&b'"') => None,
        _ if contains(b"${") || contains(b"{{") => Some("a variable in the value was not expanded"),
        _ => None,
    }
}

/// True if it has the form of a URL, such as `https://HOST/PATH?token=…` or `vault:PATH`, and is not the name of a file.
/// It may hold a credential.
pub(super) fn is_url(text: &OsStr) -> bool {
    let bytes = text.as_bytes().trim_ascii_start();
    let bytes = bytes.strip_prefix(b"@").unwrap_or(bytes);
    let is_scheme = |scheme: &[u8]| {
        // A single letter is a drive of Windows.
        scheme.len() > 1 && scheme.iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
    };
    let has_scheme = bytes
        .split(|&byte| byte == b':')
        .next()
        .is_some_and(|scheme| scheme.len() < bytes.len() && is_scheme(scheme));
    // A query or a user where the scheme is missing.
    let has_parts = bytes.contains(&b'?') || (!bytes.starts_with(b"/") && bytes.contains(&b'@'));
    (has_scheme || has_parts || bytes.windows(3).any(|window| window == b"://"))
        && Path::new(text).symlink_metadata().is_err()
}

/// True if a long part of the text looks like base64: a path has dots, or words of lower-case letters.
fn holds_base64(text: &[u8]) -> bool {
    /// How JWK, PEM and DER begin in base64.
    const BEGINNINGS: [&[u8]; 5] = [b"ey", b"ewo", b"ewA", b"LS0tLS", b"MI"];
    let is_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_');
    let words = text.split(|byte| !is_base64(byte)).filter(|word| word.len() >= SHORTEST_SECRET);
    let mut long_words = words.peekable();
    long_words.any(|word| {
        let is_absolute_path = word.starts_with(b"/");
        let pieces = word.split(|&byte| byte == b'/');
        let is_random = |piece: &[u8], least: usize| {
            piece.len() >= least
                && piece.iter().any(u8::is_ascii_uppercase)
                && piece.iter().any(u8::is_ascii_lowercase)
                && piece.iter().any(u8::is_ascii_digit)
                && !is_file_name(piece)
        };
        BEGINNINGS.iter().any(|beginning| word.starts_with(beginning))
            || (!word.contains(&b'/') && !is_file_name(word))
            || (!is_absolute_path && is_random(word, SHORTEST_SECRET))
            || pieces.into_iter().any(|piece| is_random(piece, SHORTEST_SECRET / 2))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_may_be_a_key_is_told_from_a_path() {
        let d = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZ+DusAxyuf2A=";
        let url_safe = d.replace('/', "_").replace('+', "-").replace('=', "");
        for text in [
            "%7B%22kty%22%3A%22OKP%22%7D".to_owned(),
            "file://{\"kty\":\"OKP\"}".to_owned(),
            format!("@{url_safe}"),
            format!("file://{url_safe}"),
            d.to_owned(),
            format!("/{d}"),
            format!("d:{d}"),
            format!("base64,{url_safe}"),
            "@-----BEGIN PRIVATE KEY-----".to_owned(),
            "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg".to_owned(),
            "eyJrdHkiOiJPS1AiLCJjcnYiOiJFZDI1NTE5IiwiZCI6Im5X".to_owned(),
            format!("/keys/{url_safe}"),
            format!("keys/{url_safe}"),
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60".to_owned(),
            // With a dash in most places where it may be one, and words between them.
            "/Ab1-c2D_eF-3gh-IjK4_lmN-oP5q-rS_tu6-Vw-X7yz-12-abc".to_owned(),
        ] {
            assert!(looks_like_a_key(text.as_ref()), "{text}");
        }
        for text in [
            "/keys/monitoring-signer-key.json",
            "/var/lib/kubelet/pods/0b6a0c1e-3a43-4d0b-8d3e-0f6b0a3f1b1a/volumes/keys/signer",
            "/home/operator/secrets/monitoring/locate/keys/private",
            "relative/folder/of/keys/that/is/deep/monitoring-signer-key.json",
            "@/keys/k.json",
            "key",
            "/etc/monitoring/jwk_sig_EdDSA_monitoring_20240101",
            "/keys/jwk_sig_EdDSA_VHnDJRcb8kYLPfWb0b7cSg5fN1q7T2k9x0w3y4z5A6B",
            "jwk_sig_ES256_VHnDJRcb8kYLPfWb0b7cSg5fN1q7T2k9x0w3y4z5A6B",
            "keys/jwk_sig_RS256_VHnDJRcb8kYLPfWb0b7cSg5fN1q7T2k9x0w3y4z5A6B",
            "/run/secrets/MLab-Staging_EdDSA_Signer-Key-2024-01-01",
            "locate-monitoring-signer-key-of-production-2024",
        ] {
            assert!(!looks_like_a_key(text.as_ref()), "{text}");
            assert!(!is_url(text.as_ref()), "{text}");
        }
    }

    #[test]
    fn a_url_is_told_from_a_path() {
        for text in [
            "https://host/path?token=secret",
            "HTTPS://user:secret@host/k.json",
            " file:///keys/k.json",
            "@https://host/?token=secret",
            "vault:secret/data/key?token=secret",
            "ref+vault://secret",
            "user:secret@host/k.json",
            "host/k.json?token=secret",
            "/k.json?token=secret",
        ] {
            assert!(is_url(text.as_ref()), "{text}");
        }
        for text in ["/keys/a:b@d.json", "C:\\keys\\k.json", "keys/k.json", "./a:b", "@k"] {
            assert!(!is_url(text.as_ref()), "{text}");
        }
    }
}
