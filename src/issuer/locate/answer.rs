//! Parses Locate's response.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::Locate;
use super::config::failed;
use super::offer::Offer;
use crate::failure::{Failure, Reason};
use crate::http::Answer;
use crate::issuer::quote::{first_words, quoted_name};

/// Locate's response (m-lab/locate, `api/v2/api.go`: `MonitoringResult`).
#[derive(Default)]
pub(super) struct MonitoringResult {
    pub error: Option<LocateError>,
    /// `target.urls`.
    urls: BTreeMap<String, String>,
    /// Cloud Endpoints, in front of Locate, returns `{"code","message"}`.
    pub message: Option<String>,
}

#[derive(Default)]
pub(super) struct LocateError {
    pub kind: String,
    pub title: String,
    pub detail: String,
}

impl MonitoringResult {
    /// Reads the members as Go's encoding/json does: their names in any letter case, and each that is there twice into the
    /// same variable. The error is a clause.
    fn of(members: Members) -> Result<MonitoringResult, String> {
        let mut result = MonitoringResult::default();
        for (name, value) in members.into_iter().filter(|(_, value)| !matches!(value, Json::Null)) {
            match (name.to_ascii_lowercase().as_str(), value) {
                ("error", value) => {
                    let error = result.error.get_or_insert_default();
                    for (name, value) in value.object("error")? {
                        match name.to_ascii_lowercase().as_str() {
                            "type" => error.kind = value.text("error.type")?,
                            "title" => error.title = value.text("error.title")?,
                            "detail" => error.detail = value.text("error.detail")?,
                            _ => {}
                        }
                    }
                }
                ("target", value) => {
                    let members = value.object("target")?.into_iter();
                    for (_, urls) in members.filter(|(name, _)| name.eq_ignore_ascii_case(URLS)) {
                        for (key, url) in urls.object("target.urls")? {
                            result.urls.insert(key, url.text("target.urls.*")?);
                        }
                    }
                }
                ("message", Json::Text(message)) => result.message = Some(message),
                _ => {}
            }
        }
        Ok(result)
    }
}

const URLS: &str = "urls";
/// The names of all members that are read.
const NAMES: [&str; 7] = ["error", "target", "message", URLS, "type", "title", "detail"];

type Members = Vec<(String, Json)>;

enum Json {
    Null,
    Text(String),
    Object(Members),
    /// A value that is not read, by its kind.
    Other(&'static str),
}

impl Json {
    fn object(self, name: &str) -> Result<Members, String> {
        match self {
            Json::Object(members) => Ok(members),
            Json::Null => Ok(Vec::new()),
            other => Err(other.is_not("an object", name)),
        }
    }

    fn text(self, name: &str) -> Result<String, String> {
        match self {
            Json::Text(text) => Ok(text),
            Json::Null => Ok(String::new()),
            other => Err(other.is_not("a string", name)),
        }
    }

    fn is_not(&self, expected: &str, name: &str) -> String {
        let found = match self {
            Json::Null => "null".to_owned(),
            Json::Text(text) => format!("the string {}", quoted_name(text)),
            Json::Object(_) => "an object".to_owned(),
            Json::Other(kind) => (*kind).to_owned(),
        };
        format!("{name:?} must be {expected}, not {found}")
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Json, D::Error> {
        ReadJson { is_urls: false }.deserialize(from)
    }
}

/// Reads a value, and of an object only the members that are used: the others may be anything. `is_urls`: their names are
/// keys.
struct ReadJson {
    is_urls: bool,
}

impl<'de> DeserializeSeed<'de> for ReadJson {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadJson {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other("a boolean"))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other("a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Json::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if self.is_urls || NAMES.iter().any(|known| name.eq_ignore_ascii_case(known)) {
                let is_urls = name.eq_ignore_ascii_case(URLS);
                members.push((name, map.next_value_seed(ReadJson { is_urls })?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Json::Object(members))
    }
}

/// Replaces each escape of half a surrogate pair without the other half.
fn without_half_pairs(text: &str) -> String {
    let unit = |at: usize| u16::from_str_radix(text.get(at..at + 6)?.strip_prefix("\\u")?, 16).ok();
    let (mut out, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(next) = text[at..].find('\\') {
        at += next;
        let length = match unit(at) {
            Some(0xd800..0xdc00) if matches!(unit(at + 6), Some(0xdc00..0xe000)) => 12,
            Some(0xd800..0xe000) => {
                out += &text[copied..at];
                out.push('\u{fffd}');
                copied = at + 6;
                6
            }
            _ => 2,
        };
        at = text.len().min(at + length);
        at += (at..text.len()).take_while(|&at| !text.is_char_boundary(at)).count();
    }
    out + &text[copied..]
}

impl Locate<'_> {
    /// Reads Locate's response: the available URLs, or the failure that says why there are none.
    pub fn read(&self, answer: &Answer) -> Result<Offer, Failure> {
        let at = self.at();
        // As in Go, bytes that are not UTF-8 and halves of surrogate pairs are replaced.
        let text = match std::str::from_utf8(&answer.body) {
            Ok(text) => Cow::Borrowed(text), // seven times as fast, and nearly always right
            Err(_) => String::from_utf8_lossy(&answer.body),
        };
        let json = serde_json::from_str(&text).or_else(|_| serde_json::from_str(&without_half_pairs(&text)));
        let result = match json {
            Ok(Json::Object(members)) => MonitoringResult::of(members).map(Some),
            _ => Ok(None),
        };
        let result = match result {
            Err(why) if answer.status == 200 => {
                return Err(failed(
                    Reason::UnexpectedResponse,
                    format!("unexpected response from locate at {at}: {why}; check -locate-url"),
                ));
            }
            result => result.unwrap_or_default(),
        };
        if let Some(error) = result.as_ref().and_then(|result| result.error.as_ref()) {
            return Err(self.explain_error(error, answer));
        }
        if !(200..300).contains(&answer.status) {
            return Err(self.explain_status(answer, result.as_ref()));
        }
        let Some(result) = result else {
            return Err(failed(
                Reason::UnexpectedResponse,
                if answer.body.is_empty() {
                    format!(
                        "locate at {at} returned an empty response (HTTP {}); check -locate-url",
                        answer.status
                    )
                } else {
                    let words = first_words(&answer.body);
                    format!(
                        "{at}{} returned a response that is not Locate JSON (HTTP {}, {words}); check -locate-url, and look for a proxy on the path",
                        self.client.via(),
                        answer.status
                    )
                },
            ));
        };
        if result.urls.is_empty() {
            return Err(failed(
                Reason::NoTarget,
                format!(
                    "locate at {at} returned no target.urls, so no server to test (HTTP {}); check that -locate-url is the monitoring path",
                    answer.status
                ),
            ));
        }
        Ok(Offer(result.urls))
    }
}
