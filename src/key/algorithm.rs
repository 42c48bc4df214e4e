//! Signature algorithms of the accepted keys.

use jsonwebtoken::Algorithm as JwtAlgorithm;

/// A signature algorithm (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// The same with SHA-384.
    Ps384,
    /// The same with SHA-512.
    Ps512,
}

/// The algorithms that every Locate accepts, for messages; see [`Algorithm::works_with_every_locate`].
pub(super) const ACCEPTED_BY_EVERY_LOCATE: &str = "EdDSA, ES256 and RS256";

impl Algorithm {
    /// The algorithms of an RSA key. The first is the default.
    pub const RSA: [Algorithm; 6] = [
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ];

    /// The name in a JWK's or JWT's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Rs256 => "RS256",
            Algorithm::Rs384 => "RS384",
            Algorithm::Rs512 => "RS512",
            Algorithm::Ps256 => "PS256",
            Algorithm::Ps384 => "PS384",
            Algorithm::Ps512 => "PS512",
        }
    }

    /// The same algorithm in jsonwebtoken.
    pub(super) fn of_jwt(self) -> JwtAlgorithm {
        match self {
            Algorithm::EdDsa => JwtAlgorithm::EdDSA,
            Algorithm::Es256 => JwtAlgorithm::ES256,
            Algorithm::Es384 => JwtAlgorithm::ES384,
            Algorithm::Rs256 => JwtAlgorithm::RS256,
            Algorithm::Rs384 => JwtAlgorithm::RS384,
            Algorithm::Rs512 => JwtAlgorithm::RS512,
            Algorithm::Ps256 => JwtAlgorithm::PS256,
            Algorithm::Ps384 => JwtAlgorithm::PS384,
            Algorithm::Ps512 => JwtAlgorithm::PS512,
        }
    }

    /// The algorithm that corresponds to jsonwebtoken's, if it is one of these.
    pub(super) fn from_jwt(algorithm: JwtAlgorithm) -> Option<Algorithm> {
        let others = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es384];
        others.into_iter().chain(Algorithm::RSA).find(|known| known.of_jwt() == algorithm)
    }

    /// True if every Locate accepts it. v0.17.6 accepts any algorithm that fits the registered key; v0.19.2 has a list
    /// (m-lab/access, `token/jwt.go`: `supportedAlgorithms`).
    pub fn works_with_every_locate(self) -> bool {
        matches!(self, Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256)
    }

    /// A clause that says which Locate refuses it; `None` if none does.
    pub fn refused_by(self) -> Option<String> {
        (!self.works_with_every_locate()).then(|| {
            format!(
                "Locate v0.19.2 rejects {} (it accepts {ACCEPTED_BY_EVERY_LOCATE}); v0.17.6 accepts it",
                self.name()
            )
        })
    }
}
