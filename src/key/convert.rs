//! What can be made of a JWK, with josekit: its public half, its thumbprint, its JSON.

use josekit::jwk::Jwk;
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::PrivateKey;
use super::jwk::Refusal;

/// The members that are text wherever they stand (RFC 7517, section 4; RFC 7518, section 6).
const TEXT_MEMBERS: [&str; 15] =
    ["kid", "alg", "use", "crv", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k"];

/// Reads any JWK, also one that a run refuses.
pub fn read(json: &[u8]) -> Result<Jwk, Refusal> {
    // josekit takes these for granted, and panics where they are not.
    let is_safe = |members: &Map<String, Value>| {
        members.get("kty").is_some_and(Value::is_string)
            && TEXT_MEMBERS.iter().all(|name| members.get(*name).is_none_or(Value::is_string))
    };
    let members: Option<Map<String, Value>> = serde_json::from_slice(json).ok();
    members
        .filter(is_safe)
        .and_then(|_| serde_json::from_slice(json).ok())
        .ok_or_else(|| PrivateKey::from_jwk(json).err().unwrap_or_else(|| "it is no JWK".to_owned()))
}

/// The public key of a pair, with what names it.
pub fn public_half(jwk: &Jwk) -> Result<Jwk, Refusal> {
    let mut public = jwk.to_public_key().map_err(|error| error.to_string())?;
    if let Some(algorithm) = jwk.algorithm() {
        public.set_algorithm(algorithm);
    }
    if let Some(kid) = jwk.key_id() {
        public.set_key_id(kid);
    }
    Ok(public)
}

/// The JSON of a JWK, on one line.
pub fn to_json(jwk: &Jwk) -> Result<String, Refusal> {
    serde_json::to_string(jwk.as_ref()).map_err(|error| format!("cannot write a JWK: {error}"))
}

/// The thumbprint (RFC 7638, SHA-256): the required members, in order, without blanks.
pub fn thumbprint(jwk: &Jwk) -> Result<Vec<u8>, Refusal> {
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
