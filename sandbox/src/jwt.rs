//! JWTs as Locate and the target servers verify and sign them (m-lab/access, `token/jwt.go`, on go-jose).

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::{since_epoch, unix_now};
use crate::random;

/// The rules of the verifiers of access tokens, and of Locate since v0.19.
pub(crate) const STRICT: Rules =
    Rules { leeway: Duration::ZERO, algorithms: Some(&["EdDSA", "ES256", "RS256"]) };

/// Go ignores stray bits in the last base64url character.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

fn decode(part: &str) -> Option<Vec<u8>> {
    LENIENT.decode(part).ok()
}

/// How strictly a JWT is verified.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// The tolerated difference of the clocks, either way.
    pub(crate) leeway: Duration,
    /// The accepted algorithms; `None` for every one that fits the key.
    pub(crate) algorithms: Option<&'static [&'static str]>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    crit: Option<Value>,
}

/// Registered claims (RFC 7519, 4.1). A null counts as absent.
#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// The claims of a verified JWT.
pub(crate) struct Verified {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: Vec<String>,
}

enum PublicKey {
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

impl PublicKey {
    fn from_jwk(jwk: &Value) -> Result<PublicKey, String> {
        let member = |name: &str| {
            let text = jwk[name].as_str().ok_or_else(|| format!("the JWK has no {name:?}"))?;
            decode(text).ok_or_else(|| format!("{name:?} is not valid base64url"))
        };
        // An uncompressed point: 4, x, y (SEC 1, 2.3.3).
        let point = || Ok::<_, String>([vec![4], member("x")?, member("y")?].concat());
        match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
            (Some("OKP"), Some("Ed25519")) => Ok(PublicKey::Ed25519(member("x")?)),
            (Some("EC"), Some("P-256")) => Ok(PublicKey::P256(point()?)),
            (Some("EC"), Some("P-384")) => Ok(PublicKey::P384(point()?)),
            (Some("RSA"), _) => Ok(PublicKey::Rsa { n: member("n")?, e: member("e")? }),
            (kind, curve) => Err(format!("unsupported JWK: \"kty\" {kind:?}, \"crv\" {curve:?}")),
        }
    }

    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Result<(), String> {
        let result = match (self, algorithm) {
            (PublicKey::Ed25519(key), "EdDSA") => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
            (PublicKey::P256(key), "ES256") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signature)
            }
            (PublicKey::P384(key), "ES384") => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, key).verify(message, signature)
            }
            (PublicKey::Rsa { n, e }, name) => {
                let parameters: &RsaParameters = match name {
                    "RS256" => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
                    "RS384" => &RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
                    "PS256" => &RSA_PSS_2048_8192_SHA256,
                    "PS384" => &RSA_PSS_2048_8192_SHA384,
                    "PS512" => &RSA_PSS_2048_8192_SHA512,
                    _ => return Err(format!("algorithm {name:?} does not fit the key")),
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (_, name) => return Err(format!("algorithm {name:?} does not fit the key")),
        };
        result.map_err(|_| "invalid signature".to_owned())
    }
}

/// Public keys by their key ID.
#[derive(Default)]
pub(crate) struct VerifyKeys(HashMap<String, PublicKey>);

impl VerifyKeys {
    /// Adds a public JWK.
    ///
    /// # Errors
    /// Says why the key cannot verify anything.
    pub(crate) fn add(&mut self, jwk: &Value) -> Result<(), String> {
        let key = PublicKey::from_jwk(jwk)?;
        self.0.insert(jwk["kid"].as_str().unwrap_or_default().to_owned(), key);
        Ok(())
    }

    /// The claims of a token with a valid signature, valid times and this issuer.
    ///
    /// # Errors
    /// Says why the token is invalid.
    pub(crate) fn verify(&self, token: &str, issuer: &str, rules: Rules) -> Result<Verified, String> {
        let parts: Vec<&str> = token.split('.').collect();
        let [head, body, signature] = parts.as_slice() else {
            return Err("the token does not have three parts".to_owned());
        };
        let header: Header = parse(head).ok_or("invalid header")?;
        if header.crit.is_some() {
            return Err("the header has \"crit\"".to_owned());
        }
        let algorithm = header.alg.as_str();
        if rules.algorithms.is_some_and(|accepted| !accepted.contains(&algorithm)) {
            return Err(format!("algorithm {algorithm:?} is not accepted"));
        }
        let key =
            self.0.get(&header.kid).ok_or_else(|| format!("key ID {:?} is not registered", header.kid))?;
        let signature = decode(signature).ok_or("the signature is not valid base64url")?;
        let (message, _) = token.rsplit_once('.').unwrap_or_default();
        key.verify(algorithm, message.as_bytes(), &signature)?;
        let claims: Claims = parse(body).ok_or("invalid claims")?;
        check_times(&claims, rules.leeway)?;
        let verified = Verified {
            issuer: claims.iss.unwrap_or_default(),
            subject: claims.sub.unwrap_or_default(),
            audience: match claims.aud {
                None => Vec::new(),
                Some(Audience::One(one)) => vec![one],
                Some(Audience::Many(many)) => many,
            },
        };
        if verified.issuer != issuer {
            return Err(format!("issued by {:?} instead of {issuer:?}", verified.issuer));
        }
        Ok(verified)
    }
}

fn parse<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&decode(part)?).ok()
}

fn check_times(claims: &Claims, leeway: Duration) -> Result<(), String> {
    let (now, leeway) = (since_epoch().as_secs_f64(), leeway.as_secs_f64());
    // Claims are read as whole seconds.
    let is_future = |time: Option<f64>| time.is_some_and(|time| now + leeway < time.trunc());
    if is_future(claims.nbf) {
        Err("not valid yet".to_owned())
    } else if claims.exp.is_some_and(|time| now - leeway > time.trunc()) {
        Err("expired".to_owned())
    } else if is_future(claims.iat) {
        Err("issued in the future".to_owned())
    } else {
        Ok(())
    }
}

/// A new EdDSA key.
pub(crate) struct Signer {
    key_id: String,
    pair: Ed25519KeyPair,
    pub(crate) private_jwk: Value,
    pub(crate) public_jwk: Value,
}

impl Signer {
    /// Makes a key with this key ID.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn generate(key_id: &str) -> Result<Signer, String> {
        let mut seed = [0_u8; 32];
        random::fill(&mut seed)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| error.to_string())?;
        let public_jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key()),
            "kid": key_id, "alg": "EdDSA", "use": "sig",
        });
        let mut private_jwk = public_jwk.clone();
        private_jwk["d"] = URL_SAFE_NO_PAD.encode(seed).into();
        Ok(Signer { key_id: key_id.to_owned(), pair, private_jwk, public_jwk })
    }

    /// Signs an access token for a machine, as Locate does: `iss=locate`, `sub=monitoring`, a fresh ID.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn access_token(&self, audience: &Value, lifetime: Duration) -> Result<String, String> {
        let claims = json!({
            "aud": audience, "exp": unix_now() + lifetime.as_secs(), "iss": "locate",
            "jti": random::uuid()?, "sub": "monitoring",
        });
        Ok(self.sign(&claims))
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": "EdDSA", "kid": self.key_id});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}
