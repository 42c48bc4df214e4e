//! Parses Locate's response.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ask::Locate;
use super::config::failed;
use super::offer::Offer;
use crate::failure::{Failure, Reason};
use crate::http::Answer;
use crate::issuer::quote::{first_words, shown};

/// Locate's response (m-lab/locate, `api/v2/api.go`: `MonitoringResult`).
#[derive(Deserialize)]
pub(super) struct MonitoringResult {
    #[serde(default, deserialize_with = "object")]
    pub error: Option<LocateError>,
    #[serde(default, deserialize_with = "object")]
    pub target: Option<Target>,
    /// Cloud Endpoints, in front of Locate, returns `{"code","message"}`.
    pub message: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LocateError {
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Target {
    pub urls: Option<BTreeMap<String, String>>,
}

/// An object, or null. serde would also accept an array as a struct.
fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    from.deserialize_any(Object(PhantomData))
}

/// Reads a response that Go's encoding/json accepts and serde does not: with members in another letter case, twice or
/// null, or with half of a surrogate pair.
fn read_as_go(body: &[u8]) -> Option<MonitoringResult> {
    let value = serde_json::from_str(&without_half_pairs(std::str::from_utf8(body).ok()?)).ok()?;
    serde_json::from_value(in_lower_case(value)).ok()
}

fn in_lower_case(value: Value) -> Value {
    let Value::Object(members) = value else { return value };
    let is_set = |(_, member): &(String, Value)| !member.is_null();
    let written = |(name, member): (String, Value)| match (name.to_ascii_lowercase(), member) {
        // Their names are keys.
        (name, Value::Object(urls)) if name == "urls" => {
            let url = |url: Value| if url.is_null() { String::new().into() } else { url };
            (name, urls.into_iter().map(|(key, value)| (key, url(value))).collect())
        }
        (name, member) => (name, in_lower_case(member)),
    };
    members.into_iter().filter(is_set).map(written).collect()
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
        // serde would accept an array as the struct.
        let is_object = answer.body.trim_ascii_start().starts_with(b"{");
        let parsed = is_object.then(|| serde_json::from_slice(&answer.body)).transpose();
        let is_read = |result: &MonitoringResult| result.error.is_some() || result.target.is_some();
        let parsed = match parsed {
            Ok(Some(result)) if is_read(&result) => Ok(Some(result)),
            other => {
                let as_go = is_object.then(|| read_as_go(&answer.body)).flatten().filter(is_read);
                as_go.map_or(other, |result| Ok(Some(result)))
            }
        };
        let result: Option<MonitoringResult> = match parsed {
            Ok(result) => result,
            Err(error) if error.is_data() && answer.status == 200 => {
                let wrong = shown(&error.to_string());
                return Err(failed(
                    Reason::UnexpectedResponse,
                    format!("unexpected response from locate at {at}: {wrong}"),
                ));
            }
            Err(_) => None,
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
        let urls = result.target.and_then(|target| target.urls).filter(|urls| !urls.is_empty());
        let Some(urls) = urls else {
            return Err(failed(
                Reason::NoTarget,
                format!(
                    "locate at {at} returned no target.urls, so no server to test (HTTP {}); check that -locate-url is the monitoring path",
                    answer.status
                ),
            ));
        };
        Ok(Offer(urls))
    }
}
