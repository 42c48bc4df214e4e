//! Signs the JWT for Locate, with ring's cryptography under jsonwebtoken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;

use super::pair::KeyPair;
use super::{Algorithm, PrivateKey, Unusable};

/// How long the JWT is valid.
pub const JWT_LIFETIME: Duration = Duration::from_secs(60);

/// The claims (RFC 7519, 4.1). There is no `iat` and no `nbf`, because Locate checks them without leeway.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    /// Left out if there is no machine, as in the original: an empty subject is not the same as a missing one.
    #[serde(skip_serializing_if = "str::is_empty")]
    sub: &'a str,
    aud: [&'a str; 1],
    exp: u64,
}

/// Signs a JWT for `machine`, valid for [`JWT_LIFETIME`] from `now`.
pub fn monitoring_jwt(key: &PrivateKey, machine: &str, now: SystemTime) -> Result<SecretString, Unusable> {
    let since_epoch =
        now.duration_since(UNIX_EPOCH).map_err(|_| "the local clock is before 1970".to_owned())?;
    let exp = (since_epoch + JWT_LIFETIME).as_secs();
    jwt(key, &Claims { iss: "monitoring", sub: machine, aud: ["locate"], exp })
}

/// Signs a JWT with these claims. Its header has `alg` and `kid`, as in go-jose.
pub fn jwt(key: &PrivateKey, claims: &impl Serialize) -> Result<SecretString, Unusable> {
    let mut header = Header::new(key.algorithm.of_jwt());
    header.typ = None;
    header.kid = Some(key.key_id.clone()).filter(|kid| !kid.is_empty());
    install_ring();
    match jsonwebtoken::encode(&header, claims, &key.encoding) {
        Ok(token) => Ok(SecretString::from(token)),
        Err(_) => Err(key.check().err().unwrap_or_else(|| "it cannot sign".to_owned())),
    }
}

/// Installs ring as the cryptography of jsonwebtoken in this process.
fn install_ring() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // Installing it again has no effect.
    let _ = PROVIDER.install_default();
}

struct Signer(Algorithm, KeyPair);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type that CryptoProvider has")]
fn signer(algorithm: &JwtAlgorithm, key: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    let algorithm =
        Algorithm::from_jwt(*algorithm).ok_or_else(|| Error::from(ErrorKind::InvalidAlgorithm))?;
    let pair = KeyPair::read(algorithm, key.as_bytes());
    let pair = pair.ok_or_else(|| Error::from(ErrorKind::InvalidKeyFormat))?;
    Ok(Box::new(Signer(algorithm, pair)))
}

impl signature::Signer<Vec<u8>> for Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        self.1.sign(self.0, message).ok_or_else(signature::Error::new)
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> JwtAlgorithm {
        self.0.of_jwt()
    }
}

/// This program only signs.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type that CryptoProvider has")]
fn verifier(_: &JwtAlgorithm, _: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}
