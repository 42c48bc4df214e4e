//! Gafaelfawr's error responses.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use crate::http::json as json_response;

/// `{"detail": …}`
pub(crate) fn detail(status: StatusCode, detail: &Value) -> Response<Body> {
    json_response(status, &json!({"detail": detail}))
}

/// 404 for an unknown path: a string.
pub(crate) fn not_found() -> Response<Body> {
    detail(StatusCode::NOT_FOUND, &json!("Not Found"))
}

/// 500, whose body is not JSON.
pub(crate) fn internal_error() -> Response<Body> {
    let headers = [("content-type", "text/plain; charset=utf-8")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, "Internal Server Error").into_response()
}

/// 405: a string, and the allowed method.
pub(crate) fn method_not_allowed(allowed: &Method) -> Response<Body> {
    let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, &json!("Method Not Allowed"));
    if let Ok(allowed) = allowed.as_str().parse() {
        response.headers_mut().insert("allow", allowed);
    }
    response
}

/// 403 for a missing right.
pub(crate) fn permission_denied(message: &str) -> Response<Body> {
    detail(StatusCode::FORBIDDEN, &json!([{"msg": message, "type": "permission_denied"}]))
}

/// 422 with all errors.
pub(crate) fn validation(errors: Vec<Value>) -> Response<Body> {
    detail(StatusCode::UNPROCESSABLE_ENTITY, &Value::Array(errors))
}

/// A refusal of the Authorization header. It is sent with `status`, and `error_status` is the actual error.
pub(crate) struct Challenge<'a> {
    /// The `realm`.
    pub(crate) realm: String,
    /// The status that is sent.
    pub(crate) status: StatusCode,
    /// The actual error.
    pub(crate) error_status: &'a str,
    /// The `type`.
    pub(crate) kind: &'a str,
    pub(crate) message: &'a str,
    /// The missing scope.
    pub(crate) scope: Option<&'a str>,
}

impl Challenge<'_> {
    pub(crate) fn response(&self) -> Response<Body> {
        let Challenge { realm, status, error_status, kind, message, scope } = self;
        let scope = scope.map(|scope| format!(", scope=\"{scope}\"")).unwrap_or_default();
        let challenge =
            format!("Bearer realm=\"{realm}\", error=\"{kind}\", error_description=\"{message}\"{scope}");
        let headers = [
            ("cache-control", "no-cache, no-store".to_owned()),
            ("www-authenticate", challenge),
            ("x-error-status", (*error_status).to_owned()),
            // As Python writes JSON.
            ("x-error-body", format!("{{\"detail\": [{{\"msg\": \"{message}\", \"type\": \"{kind}\"}}]}}")),
        ];
        (headers, detail(*status, &json!([{"msg": message, "type": kind}]))).into_response()
    }
}

/// 401 without any token: an object.
pub(crate) fn no_authorization(realm: &str) -> Response<Body> {
    let headers = [
        ("cache-control", "no-cache, no-store".to_owned()),
        ("www-authenticate", format!("Bearer realm=\"{realm}\"")),
    ];
    let body = json!({"msg": "Authentication required", "type": "no_authorization"});
    (headers, detail(StatusCode::UNAUTHORIZED, &body)).into_response()
}
