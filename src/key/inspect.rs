//! Describes a key for people.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::convert::{model, thumbprint};
use super::members::Members;
use super::{PrivateKey, Unusable, algorithm, rsa};
use crate::failure::printable;

/// Type, algorithm, key ID and thumbprint of a JWK, and whether it can sign monitoring requests. Never shows private
/// parts.
pub fn inspect(json: &[u8]) -> Result<String, Unusable> {
    let members = Members::read(json)?;
    let jwk = model(&members)?;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{:<12} {}", format!("{name}:"), printable(value));
    };
    row(
        "type",
        &match jwk.curve() {
            Some(curve) => format!("{} ({curve})", jwk.key_type()),
            None => format!("{}{}", jwk.key_type(), size(&members)),
        },
    );
    row("algorithm", jwk.algorithm().unwrap_or("none given"));
    row("use", jwk.key_use().unwrap_or("none given"));
    row("key ID", jwk.key_id().unwrap_or("none"));
    row("thumbprint", &thumbprint(&jwk).map_or("none".to_owned(), |hash| URL_SAFE_NO_PAD.encode(hash)));
    row("private", if members.text("d").is_some() { "yes" } else { "no" });
    row("signs", &verdict(&members));
    Ok(text)
}

fn verdict(members: &Members) -> String {
    let key = PrivateKey::from_members(members).and_then(|key| key.check().map(|()| key.algorithm));
    match key.map(algorithm::refused_by) {
        Ok(None) => "yes".to_owned(),
        Ok(Some(refused)) => format!("yes, but {refused}"),
        Err(refusal) => format!("no: {refusal}"),
    }
}

fn size(members: &Members) -> String {
    let bits = members.number("n").map(|n| rsa::bits(&n));
    bits.map(|bits| format!(" ({bits} bits)")).unwrap_or_default()
}
