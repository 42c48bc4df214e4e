//! A private JWK (RFC 7517, RFC 7518 section 6, RFC 8037), read and checked.
//!
//! What is accepted: OKP with Ed25519, EC with P-256 or P-384, RSA of at least 2048 bits; ring signs with
//! RSA of at most 4096. The public part must belong to the private one; ring checks that. Everything else
//! is refused with its reason.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::pair::{self, RSA_COMPONENTS, Rejected};

/// The smallest RSA modulus that is accepted (RFC 7518, 3.3).
const MIN_RSA_BITS: usize = 2048;

/// The signature algorithms that the accepted keys have (RFC 7518, 3.1; RFC 8037, 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384. Locate does not take it.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// The name in a JWK's or JWT's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::EdDsa => "EdDSA",
            Algorithm::Es256 => "ES256",
            Algorithm::Es384 => "ES384",
            Algorithm::Rs256 => "RS256",
        }
    }

    /// Whether Locate's verifier knows it (m-lab/access, token/jwt.go: `supportedAlgorithms`).
    pub fn is_known_to_locate(self) -> bool {
        match self {
            Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 => true,
            Algorithm::Es384 => false,
        }
    }
}

/// The members of a JWK that matter here.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    kty: Option<Text<'a>>,
    keys: Option<serde::de::IgnoredAny>,
    #[serde(borrow)]
    crv: Option<Text<'a>>,
    #[serde(borrow)]
    alg: Option<Text<'a>>,
    #[serde(borrow, rename = "use")]
    key_use: Option<Text<'a>>,
    #[serde(borrow)]
    kid: Option<Text<'a>>,
    #[serde(borrow)]
    ciphertext: Option<Text<'a>>,
    #[serde(borrow)]
    x: Option<Text<'a>>,
    #[serde(borrow)]
    y: Option<Text<'a>>,
    #[serde(borrow)]
    d: Option<Text<'a>>,
    #[serde(borrow)]
    n: Option<Text<'a>>,
    #[serde(borrow)]
    e: Option<Text<'a>>,
    #[serde(borrow)]
    p: Option<Text<'a>>,
    #[serde(borrow)]
    q: Option<Text<'a>>,
    #[serde(borrow)]
    dp: Option<Text<'a>>,
    #[serde(borrow)]
    dq: Option<Text<'a>>,
    #[serde(borrow)]
    qi: Option<Text<'a>>,
}

type Text<'a> = std::borrow::Cow<'a, str>;
type Bytes = Zeroizing<Vec<u8>>;

/// A private key with its algorithm and key id. That its halves belong together is found out where it
/// is used, by [`PrivateKey::check`] or by signing, so that a run pays for it once.
pub struct PrivateKey {
    /// How it signs.
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

/// Why a key is refused: a clause that fits behind `cannot use the key FILE: `.
pub type Refusal = String;

impl PrivateKey {
    /// Reads and checks a JWK.
    pub fn from_jwk(json: &[u8]) -> Result<PrivateKey, Refusal> {
        let members: Members<'_> =
            serde_json::from_slice(json).map_err(|error| explain_syntax(json, &error))?;
        refuse_by_kind(&members)?;
        let (kind, curve) = (text(members.kty.as_ref()), text(members.crv.as_ref()));
        let algorithm = match (kind, curve) {
            ("OKP", "Ed25519") => Algorithm::EdDsa,
            ("EC", "P-256") => Algorithm::Es256,
            ("EC", "P-384") => Algorithm::Es384,
            ("RSA", _) => Algorithm::Rs256,
            ("OKP", curve) => {
                return Err(format!("its curve {} does not sign; only Ed25519 is supported", name(curve)));
            }
            ("EC", curve) => {
                return Err(format!("its curve {} is not supported; P-256 and P-384 are", name(curve)));
            }
            (kind, _) => {
                return Err(format!("its type {} is not supported; OKP, EC and RSA are", name(kind)));
            }
        };
        match text(members.alg.as_ref()) {
            "" => {}
            alg if alg == algorithm.name() => {}
            alg => {
                return Err(format!(
                    "its alg {} does not fit a key of this type; {} does",
                    name(alg),
                    algorithm.name()
                ));
            }
        }
        if members.d.is_none() {
            return Err("it is a public key; signing needs the private one".to_owned());
        }
        let encoding = match algorithm {
            Algorithm::EdDsa => ed25519(&members)?,
            Algorithm::Es256 => ecdsa(&members, 32)?,
            Algorithm::Es384 => ecdsa(&members, 48)?,
            Algorithm::Rs256 => rsa(&members)?,
        };
        Ok(PrivateKey { algorithm, key_id: text(members.kid.as_ref()).to_owned(), encoding })
    }

    /// Whether the halves belong together, and ring can sign with them.
    pub fn check(&self) -> Result<(), Refusal> {
        let pair =
            pair::KeyPair::read(self.algorithm, self.encoding.as_bytes()).map_err(|why| match why {
                Rejected::Inconsistent => "its public part does not belong to the private one".to_owned(),
                Rejected::TooLarge => {
                    "it is an RSA key of more than 4096 bits, which ring does not take".to_owned()
                }
                Rejected::Other(why) => format!("ring refuses it: {why}"),
            })?;
        // Of an RSA key's parts, ring finds some to be wrong only when it checks its own signature.
        match pair.sign(b"monitoring-token") {
            Some(_) => Ok(()),
            None => Err("its parts do not belong together, so its signatures are wrong".to_owned()),
        }
    }
}

fn text<'a>(member: Option<&'a Text<'_>>) -> &'a str {
    member.map_or("", |text| text.as_ref())
}

/// A name in a JWK, as it is shown: what is too long for one may be a private part in the wrong place.
fn name(value: &str) -> String {
    const LONGEST_NAME: usize = 20;
    if value.len() <= LONGEST_NAME { format!("{value:?}") } else { "(not shown)".to_owned() }
}

/// JSON that is no JWK may still be recognisable.
fn explain_syntax(json: &[u8], error: &serde_json::Error) -> Refusal {
    let begins = |prefix: &[u8]| json.trim_ascii_start().starts_with(prefix);
    if json.trim_ascii().is_empty() {
        return "it is empty".to_owned();
    }
    if begins(b"-----BEGIN") {
        return "it is PEM, not a JWK; convert it, or make a new key with `monitoring-token key generate`"
            .to_owned();
    }
    // Five parts with dots: a JWE in compact form (RFC 7516, 7.1).
    if json.trim_ascii().split(|&b| b == b'.').count() == 5 && !begins(b"{") {
        return "it is encrypted (JWE); decrypt it first".to_owned();
    }
    // serde's own message may show a value of the file; its position does not.
    match error.classify() {
        serde_json::error::Category::Data => {
            format!(
                "a member of the JWK has the wrong type (line {}, column {})",
                error.line(),
                error.column()
            )
        }
        _ => format!("it is no JSON (line {}, column {})", error.line(), error.column()),
    }
}

fn refuse_by_kind(members: &Members<'_>) -> Result<(), Refusal> {
    if members.keys.is_some() {
        return Err("it is a JWK set; take the one private key out of it".to_owned());
    }
    if members.ciphertext.is_some() {
        return Err("it is encrypted (JWE); decrypt it first".to_owned());
    }
    match &members.kty {
        None => return Err("it is no JWK: it has no kty".to_owned()),
        Some(kty) if kty == "oct" => {
            return Err("it is a symmetric key; Locate needs one with a public half".to_owned());
        }
        Some(_) => {}
    }
    match &members.key_use {
        Some(key_use) if key_use != "sig" => Err(format!("its use is {}, not \"sig\"", name(key_use))),
        _ => Ok(()),
    }
}

/// The bytes of a base64url member (RFC 7515, section 2: no padding; some tools write it all the same).
fn bytes(member: Option<&Text<'_>>, name: &str) -> Result<Bytes, Refusal> {
    let value = member.ok_or_else(|| format!("it has no {name}"))?;
    URL_SAFE_NO_PAD
        .decode(value.trim_end_matches('='))
        .map(Zeroizing::new)
        .map_err(|_| format!("its {name} is no base64url"))
}

/// A member of exactly `size` bytes (RFC 7518, 6.2.1.2: leading zeroes included).
fn sized(member: Option<&Text<'_>>, name: &str, size: usize) -> Result<Bytes, Refusal> {
    let bytes = bytes(member, name)?;
    if bytes.len() == size {
        Ok(bytes)
    } else {
        Err(format!("its {name} must have {size} bytes, not {}", bytes.len()))
    }
}

fn ed25519(members: &Members<'_>) -> Result<EncodingKey, Refusal> {
    let (seed, public) = (sized(members.d.as_ref(), "d", 32)?, sized(members.x.as_ref(), "x", 32)?);
    Ok(EncodingKey::from_ed_der(&pair::join(&[&seed, &public])))
}

fn ecdsa(members: &Members<'_>, size: usize) -> Result<EncodingKey, Refusal> {
    let d = sized(members.d.as_ref(), "d", size)?;
    let (x, y) = (sized(members.x.as_ref(), "x", size)?, sized(members.y.as_ref(), "y", size)?);
    // An uncompressed point (SEC 1, 2.3.3).
    let point = [&[4_u8][..], &x[..], &y[..]].concat();
    Ok(EncodingKey::from_ec_der(&pair::join(&[&d, &point])))
}

fn rsa(members: &Members<'_>) -> Result<EncodingKey, Refusal> {
    let given =
        [&members.n, &members.e, &members.d, &members.p, &members.q, &members.dp, &members.dq, &members.qi];
    let mut numbers = Vec::with_capacity(RSA_COMPONENTS.len());
    for (member, name) in given.into_iter().zip(RSA_COMPONENTS) {
        numbers.push(unsigned(member.as_ref(), name).map_err(|why| match member {
            Some(_) => why,
            None => format!("{why}; an RSA key needs {}", RSA_COMPONENTS.join(", ")),
        })?);
    }
    let n = &numbers[0];
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    if bits < MIN_RSA_BITS {
        return Err(format!("it is an RSA key of {bits} bits; at least {MIN_RSA_BITS} are needed"));
    }
    Ok(EncodingKey::from_rsa_der(&pair::join(&numbers.iter().map(|n| &n[..]).collect::<Vec<_>>())))
}

/// A big-endian number without leading zeroes, as ring wants it.
fn unsigned(member: Option<&Text<'_>>, name: &str) -> Result<Bytes, Refusal> {
    let bytes = bytes(member, name)?;
    let zeroes = bytes.iter().take_while(|&&byte| byte == 0).count();
    Ok(Zeroizing::new(bytes[zeroes..].to_vec()))
}
