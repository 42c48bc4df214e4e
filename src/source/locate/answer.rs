//! The form of Locate's answer.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The answer (m-lab/locate, `api/v2/api.go`: `MonitoringResult`).
#[derive(Deserialize)]
pub struct MonitoringResult {
    #[serde(default, deserialize_with = "object")]
    pub error: Option<LocateError>,
    #[serde(default, deserialize_with = "object")]
    pub target: Option<Target>,
    /// Cloud Endpoints, which stands before Locate, answers `{"code","message"}`.
    pub message: Option<String>,
}

#[derive(Deserialize)]
pub struct LocateError {
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub detail: Option<String>,
}

#[derive(Deserialize)]
pub struct Target {
    pub urls: Option<BTreeMap<String, String>>,
}

/// An object, or nothing. serde itself would take an array for a struct, member by member.
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
