//! JWTs as Locate and the target servers verify and sign them (m-lab/access, `token/jwt.go`): three
//! algorithms, the key found by `kid`, zero leeway.

use std::collections::HashMap;
use std::time::Duration;

use jsonwebtoken::{Algorithm as JwtAlgorithm, DecodingKey, Validation};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::date::unix_now;
use crate::key::generate::private_jwk;
use crate::key::{Algorithm, PrivateKey, sign};
use crate::random;

/// The algorithms that the verifier takes.
const ALGORITHMS: [JwtAlgorithm; 3] = [JwtAlgorithm::EdDSA, JwtAlgorithm::ES256, JwtAlgorithm::RS256];

/// Registered claims (RFC 7519, 4.1), as far as they are used here.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Subject.
    pub sub: String,
    /// Audience.
    #[serde(default, deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    /// Expiry, Unix seconds.
    pub exp: u64,
    /// Not before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Issued at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// The token's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Audience::deserialize(deserializer)? {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
    })
}

/// Public keys by their key id.
#[derive(Default)]
pub struct VerifyKeys(HashMap<String, DecodingKey>);

impl VerifyKeys {
    /// Adds a public JWK.
    ///
    /// # Errors
    /// In words, if it is none that can verify.
    pub fn add(&mut self, jwk: &Value) -> Result<(), String> {
        let member = |name: &str| jwk[name].as_str().ok_or_else(|| format!("the JWK has no {name}"));
        let key = match jwk["kty"].as_str() {
            Some("OKP") => DecodingKey::from_ed_components(member("x")?),
            Some("EC") => DecodingKey::from_ec_components(member("x")?, member("y")?),
            Some("RSA") => DecodingKey::from_rsa_components(member("n")?, member("e")?),
            _ => return Err("the JWK is of no known type".to_owned()),
        };
        let key = key.map_err(|error| format!("the JWK is not sound: {error}"))?;
        self.0.insert(jwk["kid"].as_str().unwrap_or_default().to_owned(), key);
        Ok(())
    }

    /// The claims of a token, if its signature and times hold, and issuer and audience are these.
    ///
    /// # Errors
    /// In words, what does not hold.
    pub fn verify(&self, token: &str, issuer: &str, audience: &str) -> Result<Claims, String> {
        sign::install_ring();
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("algorithm {:?} is not supported", header.alg));
        }
        let key_id = header.kid.unwrap_or_default();
        let key = self.0.get(&key_id).ok_or_else(|| format!("key id {key_id:?} not found"))?;
        let mut validation = Validation::new(header.alg);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|error| error.to_string())?
            .claims;
        match claims.iat {
            Some(iat) if iat > unix_now() => Err("issued in the future".to_owned()),
            _ => Ok(claims),
        }
    }
}

/// A throw-away EdDSA key.
pub struct Signer {
    key: PrivateKey,
    /// The private JWK.
    pub private_jwk: SecretString,
    /// The public JWK.
    pub public_jwk: Value,
}

impl Signer {
    /// Makes a key with this key id.
    ///
    /// # Errors
    /// In words, if there is no random source.
    pub fn generate(key_id: &str) -> Result<Signer, String> {
        let mut jwk = private_jwk(Algorithm::EdDsa)?;
        jwk.set_key_id(key_id);
        let private_jwk = SecretString::from(jwk.to_string());
        let mut public = jwk.to_public_key().map_err(|error| error.to_string())?;
        public.set_key_id(key_id);
        let key = PrivateKey::from_jwk(private_jwk.expose_secret().as_bytes())?;
        Ok(Signer { key, private_jwk, public_jwk: Value::Object(public.into()) })
    }

    /// Signs an access token for `machine`, as Locate does: `iss=locate`, `sub=monitoring`, a fresh id.
    ///
    /// # Errors
    /// In words.
    pub fn access_token(&self, machine: &str, lifetime: Duration) -> Result<String, String> {
        let claims = Claims {
            iss: "locate".to_owned(),
            sub: "monitoring".to_owned(),
            aud: vec![machine.to_owned()],
            exp: unix_now() + lifetime.as_secs(),
            jti: Some(random_id()?),
            ..Claims::default()
        };
        Ok(sign::jwt(&self.key, &claims)?.expose_secret().to_owned())
    }
}

/// A random UUID (RFC 9562, version 4).
fn random_id() -> Result<String, String> {
    let mut b = [0_u8; 16];
    random::fill(&mut b)?;
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(b));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}
