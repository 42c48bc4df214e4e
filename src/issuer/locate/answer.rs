//! Parses Locate's response.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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

impl Locate<'_> {
    /// Reads Locate's response: the available URLs, or the failure that says why there are none.
    pub fn read(&self, answer: &Answer) -> Result<Offer, Failure> {
        let at = self.at();
        // serde would accept an array as the struct.
        let is_object = answer.body.trim_ascii_start().starts_with(b"{");
        let parsed = is_object.then(|| serde_json::from_slice(&answer.body)).transpose();
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
