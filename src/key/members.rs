//! The only parser of a JWK (RFC 7517), so that a run, `key inspect` and `key public` see the same members.
//!
//! It tolerates the variations of common tools if the meaning is clear: a byte order mark, a null member, base64url
//! with padding, line breaks or stray last bits, numbers with leading zeros. Ambiguous keys are refused.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::read::{BYTE_ORDER_MARK, NotText, as_text};

/// Why a key is refused: a clause that follows `cannot use the key FILE: `.
pub type Unusable = String;

/// The members that are text wherever they appear (RFC 7517, section 4; RFC 7518, section 6).
const TEXTS: [&str; 16] =
    ["kty", "crv", "alg", "use", "kid", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k"];
/// The other members that are read.
const OTHERS: [&str; 4] = ["key_ops", "oth", "keys", "ciphertext"];
/// The longest name or value that is shown: a longer one may be a private part in the wrong place.
const LONGEST_SHOWN: usize = 20;

const UTF16: &str = "this is UTF-16 text; convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8";

pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// The members of a JWK. Null counts as absent.
pub(super) struct Members(Vec<(String, Value)>);

impl Members {
    /// Reads any JWK, even one that cannot sign.
    pub(super) fn read(json: &[u8]) -> Result<Members, Unusable> {
        let json = match as_text(json) {
            Ok(text) => text.as_bytes(),
            Err(NotText::Utf16) => return Err(UTF16.to_owned()),
            // In a member that is not read, any byte may be.
            Err(NotText::Bytes) => json.strip_prefix(BYTE_ORDER_MARK).unwrap_or(json),
        };
        let mut from = serde_json::Deserializer::from_slice(json);
        let read = from.deserialize_map(ReadMembers).and_then(|read| from.end().map(|()| read));
        let members = Members(read.map_err(|_| explain_syntax(json))?);
        members.check_kinds()?;
        members.refuse_containers()?;
        Ok(members)
    }

    fn check_kinds(&self) -> Result<(), Unusable> {
        for (at, (name, value)) in self.0.iter().enumerate() {
            if self.0[..at].iter().any(|(other, _)| other == name) {
                return Err(format!("member {} appears twice", shown(name)));
            }
            match (name.as_str(), value) {
                (_, Value::Null | Value::String(_)) => {}
                (name, value) if TEXTS.contains(&name) => {
                    return Err(format!("{name:?} must be a string, not {}", kind(value)));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses files that hold a key in another form than a JWK.
    fn refuse_containers(&self) -> Result<(), Unusable> {
        if self.text("kty").is_some() {
            Ok(())
        } else if self.has("keys") {
            Err("this is a JWK set; extract the one private key from it".to_owned())
        } else if self.has("ciphertext") {
            Err(encrypted())
        } else {
            Err(format!("this is not a JWK: {}", self.missing("kty")))
        }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A member that is a name. An empty one counts as absent, as in the original.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.find(name)? {
            Value::String(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The permitted operations of the key, usually a list; empty if it does not name them.
    pub(super) fn key_ops(&self) -> Vec<&str> {
        let ops = self
            .find("key_ops")
            .map(|ops| ops.as_array().map_or_else(|| std::slice::from_ref(ops), Vec::as_slice));
        ops.unwrap_or_default().iter().filter_map(Value::as_str).collect()
    }

    /// True if there is such a member, with any value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|value| !value.is_null())
    }

    /// Says that a member is missing; mentions one of that name in other letter case.
    pub(super) fn missing(&self, name: &str) -> Unusable {
        match self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name) && other != name) {
            Some((other, _)) => format!("{name:?} is missing ({other:?} is another name: case matters)"),
            None => format!("{name:?} is missing"),
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Bytes, Unusable> {
        /// RFC 7515, section 2, allows neither padding nor stray bits; some tools write them.
        const LENIENT: GeneralPurpose = GeneralPurpose::new(
            &URL_SAFE,
            GeneralPurposeConfig::new()
                .with_decode_allow_trailing_bits(true)
                .with_decode_padding_mode(DecodePaddingMode::RequireNone),
        );
        let text = self.text(name).ok_or_else(|| self.missing(name))?.trim_end_matches('=');
        let decoded = if text.contains(['\r', '\n']) {
            // Go's decoder skips them.
            LENIENT.decode(Zeroizing::new(text.replace(['\r', '\n'], "")).as_bytes())
        } else {
            LENIENT.decode(text)
        };
        decoded.map(Zeroizing::new).map_err(|_| format!("{name:?} is not valid base64url"))
    }

    pub(super) fn sized(&self, name: &str, size: usize) -> Result<Bytes, Unusable> {
        sized(name, self.bytes(name)?, size)
    }

    /// A big-endian number without leading zeros.
    pub(super) fn number(&self, name: &str) -> Result<Bytes, Unusable> {
        let bytes = self.bytes(name)?;
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        Ok(Zeroizing::new(bytes[zeros..].to_vec()))
    }

    /// A big-endian number, padded to `size` bytes.
    pub(super) fn padded_number(&self, name: &str, size: usize) -> Result<Bytes, Unusable> {
        let number = self.number(name)?;
        let zeros = size.checked_sub(number.len()).ok_or_else(|| wrong_size(name, size, number.len()))?;
        let mut padded = Zeroizing::new(vec![0; size]);
        padded[zeros..].copy_from_slice(&number);
        Ok(padded)
    }
}

pub(super) fn shown(text: &str) -> String {
    if text.len() <= LONGEST_SHOWN { format!("{text:?}") } else { "(not shown)".to_owned() }
}

pub(super) fn sized(name: &str, bytes: Bytes, size: usize) -> Result<Bytes, Unusable> {
    if bytes.len() == size { Ok(bytes) } else { Err(wrong_size(name, size, bytes.len())) }
}

fn wrong_size(name: &str, size: usize, found: usize) -> Unusable {
    format!("{name:?} must have {size} bytes, not {found}")
}

fn encrypted() -> Unusable {
    "this key is encrypted (JWE); decrypt it first".to_owned()
}

/// Explains text that is not a JSON object, which may be recognizable as another format.
fn explain_syntax(json: &[u8]) -> Unusable {
    let Ok(json) = str::from_utf8(json) else {
        return "this is not UTF-8 text, so it cannot be a JWK".to_owned();
    };
    let error = match serde_json::from_str(json) {
        Ok(Value::Array(_)) => {
            return "expected one JSON object, found a list; extract the one private key from it".to_owned();
        }
        Ok(Value::String(_)) => {
            return "expected a JSON object, found a string; remove the quotes around the JWK".to_owned();
        }
        Ok(other) => return format!("expected a JSON object, found {}", kind(&other)),
        Err(error) => error,
    };
    let json = json.trim_ascii();
    if json.is_empty() {
        return "it is empty".to_owned();
    }
    if json.starts_with("-----BEGIN") {
        return "this is PEM, not a JWK; convert it, or create a key with `monitoring-token key generate`"
            .to_owned();
    }
    // Five parts with dots: a JWE in compact form (RFC 7516, 7.1).
    if json.split('.').count() == 5 && !json.starts_with('{') {
        return encrypted();
    }
    // serde's own message may show a value of the file; the position does not.
    format!("not valid JSON (line {}, column {}); expected a JWK", error.line(), error.column())
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Reads an object without losing members that appear twice.
struct ReadMembers;

impl<'de> Visitor<'de> for ReadMembers {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let is_read = TEXTS.contains(&name.as_str()) || OTHERS.contains(&name.as_str());
            let value = if is_read {
                map.next_value()?
            } else {
                map.next_value::<IgnoredAny>().map(|_| Value::Null)?
            };
            members.push((name, value));
        }
        Ok(members)
    }
}
