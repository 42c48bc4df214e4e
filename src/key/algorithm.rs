//! The algorithms that the accepted keys sign with.

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

/// What the newest Locate accepts; see [`Algorithm::works_with_every_locate`].
pub(super) const ACCEPTED_BY_EVERY_LOCATE: &str = "EdDSA, ES256 and RS256";

impl Algorithm {
    /// Those of an RSA key. The first is the one of a key that names none.
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

    /// The same for jsonwebtoken.
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

    /// The one that jsonwebtoken means, if it is one of these.
    pub(super) fn from_jwt(algorithm: JwtAlgorithm) -> Option<Algorithm> {
        let others = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Es384];
        others.into_iter().chain(Algorithm::RSA).find(|known| known.of_jwt() == algorithm)
    }

    /// Whether every Locate accepts it. v0.17.6 accepts any that fits the registered key; v0.19.2 has a list
    /// (m-lab/access, `token/jwt.go`: `supportedAlgorithms`).
    pub fn works_with_every_locate(self) -> bool {
        matches!(self, Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256)
    }

    /// Which Locate does not accept it, as a clause; `None` if each does.
    pub fn refused_by(self) -> Option<String> {
        (!self.works_with_every_locate()).then(|| {
            format!(
                "Locate v0.19.2 rejects {} (it accepts {ACCEPTED_BY_EVERY_LOCATE}); v0.17.6 accepts it",
                self.name()
            )
        })
    }
}
