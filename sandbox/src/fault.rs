//! The faults of the sandbox, set on the command line or, while it runs, by `POST /sandbox/fault`.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};

use crate::http::{Request, json};

/// The path that changes the fault.
pub(crate) const PATH: &str = "/sandbox/fault";

/// A fault; by default there is none.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fault {
    /// Wait this long before responding.
    pub(crate) delay_ms: u64,
    /// Respond with this status.
    pub(crate) status: Option<u16>,
    /// Respond with this body.
    pub(crate) body: Option<String>,
    /// Add this header to the response.
    pub(crate) header: Option<(String, String)>,
    /// How many requests it applies to; `None` for all.
    pub(crate) times: Option<u32>,
    /// It applies only to requests whose method and path begin like this: `POST /auth/`.
    pub(crate) only: Option<String>,
    /// The service handles the request first; only its response is delayed or replaced.
    pub(crate) after: bool,
}

impl Fault {
    /// Delays the request, or responds in place of the service.
    pub(crate) async fn apply(self) -> Option<Response<Body>> {
        // Sleeping for zero takes a millisecond.
        if self.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(self.delay_ms)).await;
        }
        if self.status.is_none() && self.body.is_none() {
            return None;
        }
        let status =
            self.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::OK);
        let mut response = (status, self.body.unwrap_or_default()).into_response();
        if let Some((name, value)) = self.header
            && let (Ok(name), Ok(value)) = (name.parse::<axum::http::HeaderName>(), value.parse())
        {
            response.headers_mut().insert(name, value);
        }
        Some(response)
    }
}

/// The current fault.
#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Fault>);

impl Faults {
    pub(crate) fn new(fault: Fault) -> Faults {
        Faults(Mutex::new(fault))
    }

    /// The fault for this request.
    pub(crate) fn take(&self, request: &Request) -> Fault {
        let mut fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{} {}", request.method, request.uri.path());
        if fault.only.as_ref().is_some_and(|only| !line.starts_with(only.as_str())) {
            return Fault::default();
        }
        match &mut fault.times {
            Some(0) => *fault = Fault::default(),
            Some(times) => *times -= 1,
            None => {}
        }
        fault.clone()
    }

    /// Sets the fault from a JSON body; an empty object removes it.
    pub(crate) fn change(&self, request: &Request) -> Response<Body> {
        match serde_json::from_slice::<Fault>(&request.body) {
            Ok(fault) => {
                let shown = serde_json::to_value(&fault).unwrap_or_default();
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
                json(StatusCode::OK, &shown)
            }
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    }
}
