//! Signs the JWT for Locate, with ring's cryptography under jsonwebtoken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use secrecy::SecretString;
use serde::Serialize;

use super::{PrivateKey, Unusable, pair};

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
    let mut header = Header::new(key.algorithm);
    header.typ = None;
    header.kid = Some(key.key_id.clone()).filter(|kid| !kid.is_empty());
    install_ring();
    match jsonwebtoken::encode(&header, claims, &key.encoding) {
        Ok(token) => Ok(SecretString::from(token)),
        Err(_) => Err(key.check().err().unwrap_or_else(|| "it cannot sign".to_owned())),
    }
}

fn install_ring() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: signer,
        verifier_factory: verifier,
        key_utils: KeyUtils::new_unimplemented(),
    };
    // Installing it again has no effect.
    let _ = PROVIDER.install_default();
}

struct Signer(Algorithm, EncodingKey);

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type that CryptoProvider has")]
#[expect(clippy::unnecessary_wraps, reason = "the type that CryptoProvider has")]
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> JwtResult<Box<dyn JwtSigner>> {
    Ok(Box::new(Signer(*algorithm, key.clone())))
}

impl signature::Signer<Vec<u8>> for Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        pair::sign(self.0, self.1.as_bytes(), message).ok_or_else(signature::Error::new)
    }
}

impl JwtSigner for Signer {
    fn algorithm(&self) -> Algorithm {
        self.0
    }
}

/// This program only signs.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the type that CryptoProvider has")]
fn verifier(_: &Algorithm, _: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    Err(ErrorKind::InvalidAlgorithm.into())
}
