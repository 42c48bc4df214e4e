//! ring's key pairs, and the form in which their parts travel through jsonwebtoken.
//!
//! jsonwebtoken's `EncodingKey` holds bytes that only the installed `CryptoProvider` understands. Ours
//! are the parts of the key, each behind its length: nothing has to be wrapped in DER to be unwrapped
//! again.

use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::jwk::Algorithm;

/// The parts of an RSA key, by their JWK names, in the order in which they travel.
pub const RSA_COMPONENTS: [&str; 8] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

/// Puts parts into one piece.
pub fn join(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let size = parts.iter().map(|part| 2 + part.len()).sum();
    let mut joined = Zeroizing::new(Vec::with_capacity(size));
    for part in parts {
        // A part comes from a key file of at most 64 KiB.
        joined.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        joined.extend_from_slice(part);
    }
    joined
}

fn split<const N: usize>(mut joined: &[u8]) -> Option<[&[u8]; N]> {
    let mut parts = [&[][..]; N];
    for part in &mut parts {
        let (length, rest) = joined.split_first_chunk::<2>()?;
        (*part, joined) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    }
    Some(parts)
}

/// Why ring does not take a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Its parts do not belong together.
    Inconsistent,
    /// It is an RSA key of more than 4096 bits.
    TooLarge,
    /// Another reason, in ring's word.
    Other(&'static str),
}

/// A key pair whose halves belong together: ring has checked it.
pub enum KeyPair {
    /// For EdDSA.
    Ed25519(Box<Ed25519KeyPair>),
    /// For ES256 and ES384.
    Ecdsa(Box<EcdsaKeyPair>),
    /// For RS256.
    Rsa(Box<RsaKeyPair>),
}

impl KeyPair {
    /// Reads what [`join`] has put together.
    ///
    /// # Errors
    /// What ring finds wrong with the key.
    pub fn read(algorithm: Algorithm, joined: &[u8]) -> Result<KeyPair, Rejected> {
        #![expect(clippy::many_single_char_names, reason = "the names of RFC 7518")]
        const INVALID: Rejected = Rejected::Other("InvalidEncoding");
        let rejected = |error: ring::error::KeyRejected| Rejected::from(&error);
        match algorithm {
            Algorithm::EdDsa => {
                let [seed, public] = split(joined).ok_or(INVALID)?;
                let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(rejected)?;
                Ok(KeyPair::Ed25519(Box::new(pair)))
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                let [d, point] = split(joined).ok_or(INVALID)?;
                let curve = match algorithm {
                    Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                    _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
                };
                let pair =
                    EcdsaKeyPair::from_private_key_and_public_key(curve, d, point, &SystemRandom::new())
                        .map_err(rejected)?;
                Ok(KeyPair::Ecdsa(Box::new(pair)))
            }
            Algorithm::Rs256 => {
                let [n, e, d, p, q, dp, dq, qi] = split(joined).ok_or(INVALID)?;
                let public_key = PublicKeyComponents { n, e };
                let components = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qi };
                Ok(KeyPair::Rsa(Box::new(RsaKeyPair::from_components(&components).map_err(rejected)?)))
            }
        }
    }

    /// The signature of `message`, in the form of a JWS (RFC 7518, 3.3 and 3.4; RFC 8037, 3.1).
    pub fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            KeyPair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            KeyPair::Ecdsa(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            KeyPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

impl From<&ring::error::KeyRejected> for Rejected {
    /// ring gives its reason only as text.
    fn from(error: &ring::error::KeyRejected) -> Rejected {
        match error.to_string().as_str() {
            "InconsistentComponents" | "InvalidComponent" => Rejected::Inconsistent,
            "TooLarge" => Rejected::TooLarge,
            "TooSmall" => Rejected::Other("TooSmall"),
            "InvalidEncoding" => Rejected::Other("InvalidEncoding"),
            _ => Rejected::Other("Unsupported"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_as_they_went_in() {
        let joined = join(&[b"a", b"", b"bcd"]);
        assert_eq!(split::<3>(&joined), Some([&b"a"[..], b"", b"bcd"]));
        assert_eq!(split::<4>(&joined), None);
        assert_eq!(split::<1>(&[0, 9, 1]), None);
    }
}
