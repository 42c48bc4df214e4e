//! Records the requests to the token APIs and their responses, for tests of a client: `GET /sandbox/requests`. Bodies
//! hold temporary tokens.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::http::{MAX_KEPT_BYTES, Request, json as json_response};

/// The path that shows them.
pub(crate) const PATH: &str = "/sandbox/requests";
/// Older ones are dropped.
const MAX_KEPT: usize = 1000;

/// A request and its response as text: parsed JSON takes many times the memory.
struct Kept {
    method: String,
    path: String,
    headers: String,
    content_type: Option<String>,
    body: Bytes,
    response: Option<(u16, Bytes)>,
}

impl Kept {
    fn bytes(&self) -> usize {
        let content_type = self.content_type.as_ref().map_or(0, String::len);
        let response = self.response.as_ref().map_or(0, |(_, body)| body.len());
        self.method.len() + self.path.len() + self.headers.len() + content_type + self.body.len() + response
    }

    fn show(&self) -> Value {
        let mut shown = json!({
            "method": self.method, "path": self.path, "content_type": self.content_type,
            "headers": self.headers.split_terminator('\n').collect::<Vec<_>>(), "body": parsed(&self.body),
        });
        if let Some((status, body)) = &self.response {
            shown["status"] = (*status).into();
            shown["answer"] = parsed(body);
        }
        shown
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

#[derive(Default)]
struct Log {
    /// The number of the oldest recorded request.
    first: usize,
    bytes: usize,
    requests: VecDeque<Kept>,
}

impl Log {
    fn trim(&mut self) {
        while self.requests.len() > MAX_KEPT || self.bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.requests.pop_front() else { return };
            self.first += 1;
            self.bytes -= oldest.bytes();
        }
    }
}

/// The requests in order.
#[derive(Default)]
pub(crate) struct Requests(Mutex<Log>);

impl Requests {
    /// Records a request and returns its number.
    pub(crate) fn begin(&self, request: &Request) -> usize {
        let names = request.headers.keys().map(|name| format!("{name}\n"));
        let kept = Kept {
            method: request.method.to_string(),
            path: request.uri.path().to_owned(),
            headers: names.collect(),
            content_type: request.header("content-type").map(str::to_owned),
            body: Bytes::copy_from_slice(&request.body),
            response: None,
        };
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = log.first + log.requests.len();
        log.bytes += kept.bytes();
        log.requests.push_back(kept);
        log.trim();
        number
    }

    /// Records the response to the request with this number.
    pub(crate) async fn end(&self, number: usize, response: Response<Body>) -> Response<Body> {
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = number.checked_sub(log.first);
        if let Some(request) = at.and_then(|at| log.requests.get_mut(at)) {
            request.response = Some((parts.status.as_u16(), body.clone()));
            log.bytes += body.len();
            log.trim();
        }
        Response::from_parts(parts, Body::from(body))
    }

    pub(crate) fn show(&self) -> Response<Body> {
        let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown: Vec<Value> = log.requests.iter().map(Kept::show).collect();
        json_response(StatusCode::OK, &json!(shown))
    }
}
