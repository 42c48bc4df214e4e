//! Uses josekit to make other forms of a JWK: its public half, its thumbprint, its JSON, and a description for people.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::jwk::refused_by;
use super::members::{Bytes, Members, shown};
use super::{PrivateKey, Unusable, rsa};
use crate::failure::printable;

/// The members whose values are names.
const NAMES: [&str; 5] = ["kty", "crv", "alg", "use", "kid"];

/// Reads any JWK, even one that cannot sign, for josekit. josekit gets no private part.
pub(crate) fn read(json: &[u8]) -> Result<Jwk, Unusable> {
    model(&Members::read(json)?)
}

fn model(members: &Members) -> Result<Jwk, Unusable> {
    let mut map = Map::new();
    let mut insert = |name: &str, text: String| map.insert(name.to_owned(), Value::String(text));
    for name in NAMES {
        if let Some(text) = members.text(name) {
            insert(name, text.to_owned());
        }
    }
    for (name, bytes) in public_numbers(members)? {
        insert(name, URL_SAFE_NO_PAD.encode(&bytes));
    }
    // Not `Jwk::from_map`: it checks for base64, which is already known here, with the regex crate, an eighth of the
    // binary.
    serde_json::from_value(Value::Object(map)).map_err(|_| "this is not a JWK".to_owned())
}

/// The numbers of a public key in the only form that RFC 7518 allows, so that a thumbprint does not depend on how they
/// were written.
fn public_numbers(members: &Members) -> Result<Vec<(&'static str, Bytes)>, Unusable> {
    let coordinate = |name, size| members.padded_number(name, size).map(|number| (name, number));
    match (members.text("kty"), members.text("crv")) {
        (Some("OKP"), _) => Ok(vec![("x", members.bytes("x")?)]),
        (Some("EC"), Some(curve)) => {
            let size = match curve {
                "P-384" => 48,
                "P-521" => 66,
                _ => 32,
            };
            Ok(vec![coordinate("x", size)?, coordinate("y", size)?])
        }
        (Some("RSA"), _) => Ok(vec![("n", members.number("n")?), ("e", members.number("e")?)]),
        _ => Ok(Vec::new()),
    }
}

/// The public key, with the members that name it.
pub(crate) fn public_half(jwk: &Jwk) -> Result<Jwk, Unusable> {
    // josekit's errors name its own types.
    let mut public = jwk.to_public_key().map_err(|_| match jwk.key_type() {
        "oct" => "this is a symmetric key, which has no public half".to_owned(),
        _ => match jwk.curve() {
            Some(curve) => format!("it has no public half: curve {} is unknown", shown(curve)),
            None => format!("it has no public half: key type {} is unknown", shown(jwk.key_type())),
        },
    })?;
    if let Some(algorithm) = jwk.algorithm() {
        public.set_algorithm(algorithm);
    }
    if let Some(kid) = jwk.key_id() {
        public.set_key_id(kid);
    }
    Ok(public)
}

/// The JSON of a JWK, on one line.
pub(crate) fn to_json(jwk: &Jwk) -> Result<String, Unusable> {
    serde_json::to_string(jwk.as_ref()).map_err(|_| "cannot write the JWK".to_owned())
}

/// The thumbprint (RFC 7638, SHA-256): the required members, in order, without spaces.
pub(crate) fn thumbprint(jwk: &Jwk) -> Result<Vec<u8>, Unusable> {
    let names: &[&str] = match jwk.key_type() {
        "OKP" => &["crv", "kty", "x"],
        "EC" => &["crv", "kty", "x", "y"],
        "RSA" => &["e", "kty", "n"],
        _ => return Err("a key of this type has no public thumbprint".to_owned()),
    };
    let members: Option<Vec<String>> = names
        .iter()
        .map(|name| Some(format!("\"{name}\":{}", jwk.parameter(name).filter(|value| value.is_string())?)))
        .collect();
    let members = members.ok_or_else(|| format!("one of {} is missing", names.join(", ")))?;
    Ok(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()).as_ref().to_vec())
}

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
    match key.map(refused_by) {
        Ok(None) => "yes".to_owned(),
        Ok(Some(refused)) => format!("yes, but {refused}"),
        Err(refusal) => format!("no: {refusal}"),
    }
}

fn size(members: &Members) -> String {
    let bits = members.number("n").map(|n| rsa::bits(&n));
    bits.map(|bits| format!(" ({bits} bits)")).unwrap_or_default()
}
