//! The only parser of a JWK (RFC 7517), so that a run, `key inspect` and `key public` see the same members.
//!
//! It tolerates the variations of common tools if the meaning is clear: a byte order mark, a null member, base64url
//! with padding, line breaks or stray last bits, numbers with leading zeros. Ambiguous keys are refused.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::read::{NotText, as_text};

/// Why a key is refused: a clause that follows `cannot use the key FILE: `.
pub type Unusable = String;

/// The members that are text wherever they appear (RFC 7517, section 4; RFC 7518, section 6).
const TEXTS: [&str; 16] =
    ["kty", "crv", "alg", "use", "kid", "x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi", "k"];
/// The longest name or value that is shown: a longer one may be a private part in the wrong place.
const LONGEST_SHOWN: usize = 20;

pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// The members of a JWK. Null counts as absent.
pub(super) struct Members<'a>(Vec<(Cow<'a, str>, Member<'a>)>);

impl<'a> Members<'a> {
    /// Reads any JWK, even one that cannot sign.
    pub(super) fn read(json: &'a [u8]) -> Result<Members<'a>, Unusable> {
        let json = as_text(json).map_err(explain_encoding)?;
        let mut from = serde_json::Deserializer::from_str(json);
        let read = Member::deserialize(&mut from).and_then(|read| from.end().map(|()| read));
        let members = match read.map_err(|error| explain_syntax(json, &error))? {
            Member::Object(members) => Members(members),
            Member::List(_) => {
                return Err(
                    "expected one JSON object, found a list; extract the one private key from it".into()
                );
            }
            Member::Text(_) => {
                return Err("expected a JSON object, found a string; remove the quotes around the JWK".into());
            }
            other => return Err(format!("expected a JSON object, found {}", other.kind())),
        };
        members.check_kinds()?;
        members.refuse_containers()?;
        Ok(members)
    }

    fn check_kinds(&self) -> Result<(), Unusable> {
        let mut names = BTreeSet::new();
        for (name, value) in &self.0 {
            if !names.insert(name) {
                return Err(format!("member {} appears twice", shown(name)));
            }
            match (name.as_ref(), value) {
                (_, Member::Null) | ("key_ops", Member::List(_)) => {}
                ("key_ops", other) => {
                    return Err(format!("\"key_ops\" must be a list, not {}", other.kind()));
                }
                (_, Member::Text(_)) => {}
                (name, value) if TEXTS.contains(&name) || name == "ciphertext" => {
                    return Err(format!("{name:?} must be a string, not {}", value.kind()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses files that hold a key in another form than a JWK.
    fn refuse_containers(&self) -> Result<(), Unusable> {
        if self.has("keys") {
            return Err("this is a JWK set; extract the one private key from it".to_owned());
        }
        if self.has("ciphertext") {
            return Err(encrypted());
        }
        if self.text("kty").is_none() {
            return Err(format!("this is not a JWK: {}", self.missing("kty")));
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Member<'a>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A member that is a name. An empty one counts as absent, as in the original.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.find(name)? {
            Member::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The permitted operations of the key; empty if it does not list them.
    pub(super) fn key_ops(&self) -> &[Cow<'a, str>] {
        if let Some(Member::List(ops)) = self.find("key_ops") { ops } else { &[] }
    }

    /// True if there is such a member, with any value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some_and(|value| !matches!(value, Member::Null))
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
        let bytes = self.bytes(name)?;
        if bytes.len() == size { Ok(bytes) } else { Err(wrong_size(name, size, bytes.len())) }
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

fn wrong_size(name: &str, size: usize, found: usize) -> Unusable {
    format!("{name:?} must have {size} bytes, not {found}")
}

fn encrypted() -> Unusable {
    "this key is encrypted (JWE); decrypt it first".to_owned()
}

fn explain_encoding(why: NotText) -> Unusable {
    match why {
        NotText::Utf16 => {
            "this is UTF-16 text; convert it to UTF-8, for example with iconv -f UTF-16 -t UTF-8".to_owned()
        }
        NotText::Bytes => "this is not text (UTF-8), so not a JWK".to_owned(),
    }
}

/// Explains invalid JSON, which may be recognizable as another format.
fn explain_syntax(json: &str, error: &serde_json::Error) -> Unusable {
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

/// The value of a member, as far as it is needed.
enum Member<'a> {
    Null,
    Text(Cow<'a, str>),
    /// The strings in it.
    List(Vec<Cow<'a, str>>),
    Object(Vec<(Cow<'a, str>, Member<'a>)>),
    Other(&'static str),
}

impl Member<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Member::Null => "null",
            Member::Text(_) => "a string",
            Member::List(_) => "a list",
            Member::Object(_) => "an object",
            Member::Other(kind) => kind,
        }
    }
}

impl<'de> Deserialize<'de> for Member<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Member<'de>, D::Error> {
        from.deserialize_any(ReadMember)
    }
}

struct ReadMember;

impl<'de> Visitor<'de> for ReadMember {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member")
    }

    fn visit_unit<E>(self) -> Result<Member<'de>, E> {
        Ok(Member::Null)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Member<'de>, E> {
        Ok(Member::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Member<'de>, E> {
        Ok(Member::Other("a boolean"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Member<'de>, E> {
        Ok(Member::Other("a number"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Member<'de>, E> {
        Ok(Member::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Member<'de>, E> {
        Ok(Member::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Member<'de>, A::Error> {
        let mut texts = Vec::new();
        while let Some(item) = items.next_element()? {
            if let Member::Text(text) = item {
                texts.push(text);
            }
        }
        Ok(Member::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some((Member::Text(name), value)) = map.next_entry()? {
            members.push((name, value));
        }
        Ok(Member::Object(members))
    }
}
