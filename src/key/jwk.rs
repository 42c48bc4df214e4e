//! A private JWK (RFC 7517; RFC 7518, section 6; RFC 8037) that can sign.
//!
//! Accepted are OKP with Ed25519, EC with P-256 or P-384, RSA of 2048, 3072 or 4096 bits. The public part must belong
//! to the private one; ring checks that. Other keys are refused with a reason.

use std::fmt;

pub use jsonwebtoken::Algorithm;
use jsonwebtoken::{AlgorithmFamily, EncodingKey};

use super::members::{Bytes, Members, shown, sized};
use super::{Unusable, pair, rsa};

/// The algorithms that every version of Locate accepts.
pub(crate) const ACCEPTED_EVERYWHERE: [(&str, Algorithm); 3] =
    [("EdDSA", Algorithm::EdDSA), ("ES256", Algorithm::ES256), ("RS256", Algorithm::RS256)];

/// A private key with its algorithm and key ID. [`PrivateKey::check`] and signing verify that its halves match, so a
/// run pays for that only once.
pub struct PrivateKey {
    pub algorithm: Algorithm,
    /// The JWK's `kid`; empty if it has none, as in go-jose.
    pub key_id: String,
    /// The key in the form that [`pair`] reads; zeroed when dropped.
    pub(super) encoding: EncodingKey,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

impl PrivateKey {
    pub fn from_jwk(json: &[u8]) -> Result<PrivateKey, Unusable> {
        PrivateKey::from_members(&Members::read(json)?)
    }

    pub(super) fn from_members(members: &Members) -> Result<PrivateKey, Unusable> {
        refuse_other_uses(members)?;
        let algorithm = algorithm_of(members)?;
        if members.text("d").is_none() {
            return Err("this is a public key; signing needs the private key".to_owned());
        }
        let encoding = match algorithm {
            Algorithm::EdDSA => {
                let (mut d, x) = (members.bytes("d")?, members.sized("x", 32)?);
                // libsodium writes the public key behind the private one.
                if d.len() == 64 && d.ends_with(&x) {
                    d.truncate(32);
                }
                EncodingKey::from_ed_der(&pair::join(&[&sized("d", d, 32)?, &x]))
            }
            Algorithm::ES256 => EncodingKey::from_ec_der(&ecdsa(members, 32)?),
            Algorithm::ES384 => EncodingKey::from_ec_der(&ecdsa(members, 48)?),
            _ => EncodingKey::from_rsa_der(&rsa::parts(members)?),
        };
        Ok(PrivateKey { algorithm, key_id: members.text("kid").unwrap_or_default().to_owned(), encoding })
    }

    pub fn alg(&self) -> String {
        name_of(self.algorithm)
    }

    /// A clause about an algorithm that not every Locate accepts; empty for one that every Locate accepts.
    pub(crate) fn remark(&self) -> String {
        refused_by(self.algorithm).map(|refused| format!("; {refused}")).unwrap_or_default()
    }

    /// Fails if the halves do not match, so that its signatures would be invalid.
    pub fn check(&self) -> Result<(), Unusable> {
        // Some invalid parts of an RSA key show only when ring checks its own signature.
        match pair::sign(self.algorithm, self.encoding.as_bytes(), b"monitoring-token") {
            Some(_) => Ok(()),
            None => Err("the public and private parts do not match".to_owned()),
        }
    }
}

/// The name of an algorithm in a JWK's or JWT's `alg` (RFC 7518, 3.1; RFC 8037, 3.1). jsonwebtoken names its variants the
/// same way.
pub(crate) fn name_of(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

/// A clause that says which Locate refuses it; `None` if none does. v0.17.6 accepts any algorithm that fits the
/// registered key; v0.19.2 has a list (m-lab/access, `token/jwt.go`: `supportedAlgorithms`).
pub(super) fn refused_by(algorithm: Algorithm) -> Option<String> {
    let is_refused = ACCEPTED_EVERYWHERE.iter().all(|(_, accepted)| *accepted != algorithm);
    is_refused.then(|| {
        let name = name_of(algorithm);
        format!("Locate v0.19.2 rejects {name} (it accepts EdDSA, ES256 and RS256); v0.17.6 accepts it")
    })
}

fn refuse_other_uses(members: &Members) -> Result<(), Unusable> {
    if members.text("kty") == Some("oct") {
        return Err("this is a symmetric key; Locate needs a key with a public half".to_owned());
    }
    if let Some(other) = members.text("use").filter(|key_use| *key_use != "sig") {
        return Err(format!("its \"use\" is {}; signing needs \"sig\"", shown(other)));
    }
    let ops = members.key_ops();
    if ops.is_empty() || ops.contains(&"sign") {
        return Ok(());
    }
    let ops: Vec<String> = ops.into_iter().map(shown).collect();
    Err(format!("its \"key_ops\" are {}; signing needs \"sign\"", ops.join(", ")))
}

/// The key's `alg`, if it fits the type; without `alg`, the default of its type.
fn algorithm_of(members: &Members) -> Result<Algorithm, Unusable> {
    let (kind, curve) = (members.text("kty").unwrap_or_default(), members.text("crv"));
    let fitting: &[Algorithm] = match (kind, curve) {
        ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
        ("EC", Some("P-256")) => &[Algorithm::ES256],
        ("EC", Some("P-384")) => &[Algorithm::ES384],
        // The first is the default.
        ("RSA", _) => AlgorithmFamily::Rsa.algorithms(),
        ("OKP" | "EC", None) => return Err(members.missing("crv")),
        ("OKP", Some(curve)) => return Err(format!("curve {} cannot sign; use Ed25519", shown(curve))),
        ("EC", Some(curve)) => {
            return Err(format!("curve {} is not supported; use P-256 or P-384", shown(curve)));
        }
        (kind, _) => {
            return Err(format!("key type {} is not supported; use OKP, EC or RSA", shown(kind)));
        }
    };
    let Some(alg) = members.text("alg") else { return Ok(fitting[0]) };
    alg.parse().ok().filter(|known| fitting.contains(known)).ok_or_else(|| {
        let names: Vec<String> = fitting.iter().map(|known| name_of(*known)).collect();
        format!("its \"alg\" {} does not fit this key, which signs with {}", shown(alg), names.join(", "))
    })
}

fn ecdsa(members: &Members, size: usize) -> Result<Bytes, Unusable> {
    let d = members.padded_number("d", size)?;
    let (x, y) = (members.padded_number("x", size)?, members.padded_number("y", size)?);
    // An uncompressed point (SEC 1, 2.3.3).
    let point = [&[4_u8][..], &x[..], &y[..]].concat();
    Ok(pair::join(&[&d, &point]))
}
