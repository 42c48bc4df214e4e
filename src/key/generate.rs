//! Generates keys. EdDSA and ES256 keys come from ring; ring cannot generate RSA keys, so they come from the `rsa`
//! crate. OpenSSL, which josekit could use for all three, would treble the size of the binary.

use ::rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use ::rsa::{BigUint, RsaPrivateKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use josekit::jwk::Jwk;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::rsa::crt_parts;
use super::{Algorithm, PrivateKey, name_of};
use crate::random;

/// The default size of m-lab's `jwk-keygen` (go-jose v2.6.0, jwk-keygen/main.go).
const RSA_BITS: usize = 2048;

/// A new private JWK for `algorithm`, with `use` and `alg`, without a key ID.
pub(crate) fn private_jwk(kind: Algorithm) -> Result<Jwk, String> {
    let mut jwk = match kind {
        Algorithm::EdDSA => ed25519()?,
        Algorithm::ES256 => p256()?,
        Algorithm::RS256 => rsa()?,
        other => return Err(format!("not every Locate accepts {}", name_of(other))),
    };
    jwk.set_key_use("sig");
    jwk.set_algorithm(name_of(kind));
    // Never return a key that a run would refuse.
    PrivateKey::from_jwk(&Zeroizing::new(jwk.to_string().into_bytes()))?.check()?;
    Ok(jwk)
}

fn jwk(members: Value) -> Result<Jwk, String> {
    serde_json::from_value(members).map_err(|error| error.to_string())
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn ed25519() -> Result<Jwk, String> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    random::fill(&mut *seed)?;
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|error| error.to_string())?;
    jwk(json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key()), "d": encode(*seed)}))
}

fn p256() -> Result<Jwk, String> {
    /// The position of the private scalar in the PKCS#8 document that ring creates (RFC 5915, section 3).
    const SCALAR: std::ops::Range<usize> = 36..68;
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let source = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &source).map_err(|_| random::NO_RANDOM)?;
    let pair =
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &source).map_err(|error| error.to_string())?;
    // An uncompressed point: 4, x, y (SEC 1, 2.3.3).
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let d = pkcs8.as_ref().get(SCALAR).unwrap_or_default();
    jwk(json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y), "d": encode(d)}))
}

fn rsa() -> Result<Jwk, String> {
    let key =
        RsaPrivateKey::new(&mut ::rsa::rand_core::OsRng, RSA_BITS).map_err(|error| error.to_string())?;
    let number = |number: &BigUint| encode(Zeroizing::new(number.to_bytes_be()));
    let [p, q] = key.primes() else { return Err("an RSA key has two primes".to_owned()) };
    let [dp, dq, qi] = crt_parts(&key).ok_or("no CRT parts")?;
    jwk(json!({
        "kty": "RSA", "n": number(key.n()), "e": number(key.e()), "d": number(key.d()),
        "p": number(p), "q": number(q), "dp": encode(dp), "dq": encode(dq), "qi": encode(qi),
    }))
}
