//! What a key is, in words for people.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;

use super::PrivateKey;
use super::convert::{read, thumbprint};
use super::jwk::Refusal;
use crate::error::printable;

/// Type, algorithm, key id and thumbprint of a JWK, and whether it can sign monitoring requests; never
/// its private parts.
pub fn inspect(json: &[u8]) -> Result<String, Refusal> {
    let jwk = read(json)?;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<12} {}", format!("{name}:"), printable(value));
    };
    row(
        "type",
        &match jwk.curve() {
            Some(curve) => format!("{} ({curve})", jwk.key_type()),
            None => format!("{}{}", jwk.key_type(), bits(&jwk)),
        },
    );
    row("algorithm", jwk.algorithm().unwrap_or("none given"));
    row("use", jwk.key_use().unwrap_or("none given"));
    row("key id", jwk.key_id().unwrap_or("none"));
    row("thumbprint", &thumbprint(&jwk).map_or("none".to_owned(), |hash| URL_SAFE_NO_PAD.encode(hash)));
    row("private", if jwk.parameter("d").is_some() { "yes" } else { "no" });
    row("signs", &verdict(json));
    Ok(text)
}

/// Whether a run could use the key.
fn verdict(json: &[u8]) -> String {
    match PrivateKey::from_jwk(json).and_then(|key| key.check().map(|()| key.algorithm)) {
        Ok(algorithm) if algorithm.is_known_to_locate() => "yes".to_owned(),
        Ok(algorithm) => {
            format!("yes, but Locate does not take {}; it takes EdDSA, ES256 and RS256", algorithm.name())
        }
        Err(refusal) => format!("no: {refusal}"),
    }
}

fn bits(jwk: &Jwk) -> String {
    let modulus = jwk.parameter("n").and_then(|n| n.as_str()).and_then(|n| URL_SAFE_NO_PAD.decode(n).ok());
    modulus.map(|n| format!(" ({} bits)", n.len() * 8)).unwrap_or_default()
}
