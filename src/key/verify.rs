//! Verifying JWTs, for the sandbox: the algorithms of [`super::sign`], with ring.

use jsonwebtoken::crypto::JwtVerifier;
use jsonwebtoken::errors::{ErrorKind, Result as JwtResult};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

struct Verifier {
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The verifier that jsonwebtoken's provider gives out.
pub fn verifier(algorithm: Algorithm, key: &DecodingKey) -> JwtResult<Box<dyn JwtVerifier>> {
    match algorithm {
        Algorithm::EdDSA | Algorithm::ES256 | Algorithm::ES384 | Algorithm::RS256 => {
            Ok(Box::new(Verifier { algorithm, key: key.clone() }))
        }
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    }
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let failed = |_| signature::Error::new();
        if self.algorithm == Algorithm::RS256 {
            let DecodingKeyKind::RsaModulusExponent { n, e } = self.key.kind() else {
                return Err(signature::Error::new());
            };
            return RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .map_err(failed);
        }
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::EdDSA => &ED25519,
            Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
            _ => &ECDSA_P384_SHA384_FIXED,
        };
        let key = self.key.try_get_as_bytes().map_err(signature::Error::from_source)?;
        UnparsedPublicKey::new(algorithm, key).verify(message, signature).map_err(failed)
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
