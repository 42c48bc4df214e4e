//! Signs with ring, and encodes the parts of a key for jsonwebtoken.
//!
//! jsonwebtoken's `EncodingKey` holds bytes that only the installed `CryptoProvider` interprets. Here they are the
//! parts of the key, each after its length, so nothing needs to be wrapped in DER.

use jsonwebtoken::Algorithm;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
    RsaEncoding, RsaKeyPair,
};
use zeroize::Zeroizing;

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

/// The signature of `message` in the form of a JWS (RFC 7518, 3.3 to 3.5; RFC 8037, 3.1), with a key that [`join`] has
/// encoded. `None` means that its parts do not match, which ring checks: other errors were found earlier, with a better
/// message.
pub(super) fn sign(algorithm: Algorithm, joined: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    #![expect(clippy::many_single_char_names, reason = "the names of RFC 7518")]
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::EdDSA => {
            let [seed, public] = split(joined)?;
            let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?;
            Some(pair.sign(message).as_ref().to_vec())
        }
        Algorithm::ES256 | Algorithm::ES384 => {
            let [d, point] = split(joined)?;
            let curve = match algorithm {
                Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                _ => &ECDSA_P256_SHA256_FIXED_SIGNING,
            };
            let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, d, point, &random).ok()?;
            Some(pair.sign(&random, message).ok()?.as_ref().to_vec())
        }
        _ => {
            let [n, e, d, p, q, dp, dq, qi] = split(joined)?;
            let public_key = PublicKeyComponents { n, e };
            let components = KeyPairComponents { public_key, d, p, q, dP: dp, dQ: dq, qInv: qi };
            let pair = RsaKeyPair::from_components(&components).ok()?;
            let padding: &dyn RsaEncoding = match algorithm {
                Algorithm::RS384 => &RSA_PKCS1_SHA384,
                Algorithm::RS512 => &RSA_PKCS1_SHA512,
                Algorithm::PS256 => &RSA_PSS_SHA256,
                Algorithm::PS384 => &RSA_PSS_SHA384,
                Algorithm::PS512 => &RSA_PSS_SHA512,
                _ => &RSA_PKCS1_SHA256,
            };
            let mut signature = vec![0; pair.public().modulus_len()];
            pair.sign(padding, &random, message, &mut signature).ok()?;
            Some(signature)
        }
    }
}
