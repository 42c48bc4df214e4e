//! What the token APIs were asked and what they answered, for whoever tests a client:
//! `GET /sandbox/requests`. Bodies hold throw-away tokens.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::http::{MAX_REQUEST_BYTES, Request, json as json_response};

/// Where they are shown.
pub(crate) const PATH: &str = "/sandbox/requests";
/// Older ones are forgotten.
const KEPT: usize = 1000;

#[derive(Default)]
struct Log {
    first: usize,
    requests: VecDeque<Value>,
}

/// The requests, in the order in which they came.
#[derive(Default)]
pub(crate) struct Requests(Mutex<Log>);

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

impl Requests {
    /// A request to a token API has come; gives its number.
    pub(crate) fn begin(&self, request: &Request) -> usize {
        let names: Vec<&str> = request.headers.keys().map(axum::http::HeaderName::as_str).collect();
        let content_type = request.header("content-type");
        let request = json!({
            "method": request.method.as_str(), "path": request.uri.path(), "headers": names, "content_type": content_type,
            "body": parsed(&request.body),
        });
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if log.requests.len() == KEPT {
            log.requests.pop_front();
            log.first += 1;
        }
        log.requests.push_back(request);
        log.first + log.requests.len() - 1
    }

    /// It has been answered.
    pub(crate) async fn end(&self, number: usize, response: Response<Body>) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, MAX_REQUEST_BYTES).await.unwrap_or_default();
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = number.checked_sub(log.first);
        if let Some(request) = at.and_then(|at| log.requests.get_mut(at)) {
            request["status"] = parts.status.as_u16().into();
            request["answer"] = parsed(&body);
        }
        Response::from_parts(parts, Body::from(body))
    }

    /// All of them.
    pub(crate) fn show(&self) -> Response<Body> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        json_response(StatusCode::OK, &json!(log.requests))
    }
}
