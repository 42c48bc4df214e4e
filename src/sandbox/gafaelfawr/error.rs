//! The shapes of Gafaelfawr's errors.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use crate::sandbox::json as json_answer;

/// `{"detail": …}`
pub fn detail(status: StatusCode, detail: &Value) -> Response<Body> {
    json_answer(status, &json!({"detail": detail}))
}

/// 404 of a path that is not there: a string.
pub fn not_found() -> Response<Body> {
    detail(StatusCode::NOT_FOUND, &json!("Not Found"))
}

/// 405: a string, and what is allowed.
pub fn method_not_allowed(allowed: &Method) -> Response<Body> {
    let mut response = detail(StatusCode::METHOD_NOT_ALLOWED, &json!("Method Not Allowed"));
    if let Ok(allowed) = allowed.as_str().parse() {
        response.headers_mut().insert("allow", allowed);
    }
    response
}

/// 403 for the lack of a right.
pub fn permission_denied(message: &str) -> Response<Body> {
    detail(StatusCode::FORBIDDEN, &json!([{"msg": message, "type": "permission_denied"}]))
}

/// 422 with all errors.
pub fn validation(errors: Vec<Value>) -> Response<Body> {
    detail(StatusCode::UNPROCESSABLE_ENTITY, &Value::Array(errors))
}

/// A refusal of the Authorization header. On the wire `status`; `error_status` is what is meant.
pub struct Challenge<'a> {
    /// The `realm`.
    pub realm: String,
    /// Status on the wire.
    pub status: StatusCode,
    /// What is meant.
    pub error_status: &'a str,
    /// The `type`.
    pub kind: &'a str,
    /// In words.
    pub message: &'a str,
    /// The scope that is missing.
    pub scope: Option<&'a str>,
}

impl Challenge<'_> {
    /// The answer.
    pub fn answer(&self) -> Response<Body> {
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
pub fn no_authorization(realm: &str) -> Response<Body> {
    let headers = [
        ("cache-control", "no-cache, no-store".to_owned()),
        ("www-authenticate", format!("Bearer realm=\"{realm}\"")),
    ];
    let body = json!({"msg": "Authentication required", "type": "no_authorization"});
    (headers, detail(StatusCode::UNAUTHORIZED, &body)).into_response()
}
