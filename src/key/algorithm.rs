//! The signature algorithms of the accepted keys: those of jsonwebtoken without HMAC.

pub use jsonwebtoken::Algorithm;

/// The names in a JWK's or JWT's `alg` (RFC 7518, 3.1; RFC 8037, 3.1).
const NAMES: [(Algorithm, &str); 9] = [
    (Algorithm::EdDSA, "EdDSA"),
    (Algorithm::ES256, "ES256"),
    (Algorithm::ES384, "ES384"),
    (Algorithm::RS256, "RS256"),
    (Algorithm::RS384, "RS384"),
    (Algorithm::RS512, "RS512"),
    (Algorithm::PS256, "PS256"),
    (Algorithm::PS384, "PS384"),
    (Algorithm::PS512, "PS512"),
];

/// The algorithms that every version of Locate accepts.
pub(crate) const ACCEPTED_EVERYWHERE: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

/// The name in a JWK's or JWT's `alg`.
pub(crate) fn name(algorithm: Algorithm) -> &'static str {
    NAMES.iter().find(|(known, _)| *known == algorithm).map_or("none", |(_, name)| name)
}

/// A clause that says which Locate refuses it; `None` if none does. v0.17.6 accepts any algorithm that fits the
/// registered key; v0.19.2 has a list (m-lab/access, `token/jwt.go`: `supportedAlgorithms`).
pub(crate) fn refused_by(algorithm: Algorithm) -> Option<String> {
    let is_refused = !ACCEPTED_EVERYWHERE.contains(&algorithm);
    let name = name(algorithm);
    is_refused.then(|| {
        format!("Locate v0.19.2 rejects {name} (it accepts EdDSA, ES256 and RS256); v0.17.6 accepts it")
    })
}
