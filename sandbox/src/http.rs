//! Complete requests, and JSON responses.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;

/// The maximum size of a request.
pub(crate) const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// How much of the requests, and of the tokens of each service, is kept, so that a long or hostile run cannot fill the
/// memory.
pub(crate) const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// A complete request.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    /// The parameters of the query, decoded as by browsers and Starlette.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let query = self.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// A header, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A JSON response.
pub(crate) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    (status, [("content-type", "application/json")], value.to_string()).into_response()
}
