//! ring's key pairs, and the encoding of their parts for jsonwebtoken.
//!
//! jsonwebtoken's `EncodingKey` holds bytes that only the installed `CryptoProvider` interprets. Here they are the
//! parts of the key, each after its length, so nothing needs to be wrapped in DER.

use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

use super::Algorithm;

/// Joins parts, each after its length.
pub(super) fn join(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
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

/// A key pair whose halves match: ring has checked it.
pub(super) enum KeyPair {
    /// EdDSA.
    Ed25519(Box<Ed25519KeyPair>),
    /// ES256 and ES384.
    Ecdsa(Box<EcdsaKeyPair>),
    /// For all RSA algorithms.
    Rsa(Box<RsaKeyPair>),
}

impl KeyPair {
    /// Reads the output of [`join`]. `None` means that the parts do not match: other errors were found earlier, with a
    /// better message.
    pub(super) fn read(algorithm: Algorithm, joined: &[u8]) -> Option<KeyPair> {
        #![expect(clippy::many_single_char_names, reason = "the names of RFC 7518")]
        match algorithm {
            Algorithm::EdDsa => {
                let [seed, public] = split(joined)?;
                let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?;
                Some(KeyPair::Ed25519(Box::new(pair)))
            }
            Algorithm::Es256 | Algorithm::Es384 => {
                let [d, point] = split(joined)?;
                let curve = match algorithm {
                    Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                    _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
                };
                let random = SystemRandom::new();
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, d, point, &random).ok()?;
                Some(KeyPair::Ecdsa(Box::new(pair)))
            }
            _ => {
                let [n, e, d, p, q, dp, dq, qi] = split(joined)?;
                let public_key = PublicKeyComponents { n, e };
                let components = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qi };
                Some(KeyPair::Rsa(Box::new(RsaKeyPair::from_components(&components).ok()?)))
            }
        }
    }

    /// The signature of `message`, in the form of a JWS (RFC 7518, 3.3 to 3.5; RFC 8037, 3.1).
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            KeyPair::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
            KeyPair::Ecdsa(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            KeyPair::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match algorithm {
                    Algorithm::Rs384 => &RSA_PKCS1_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_parts_can_be_read_back() {
        let joined = join(&[b"a", b"", b"bcd"]);
        assert_eq!(split::<3>(&joined), Some([&b"a"[..], b"", b"bcd"]));
        assert_eq!(split::<4>(&joined), None);
        assert_eq!(split::<1>(&[0, 9, 1]), None);
    }
}
