//! The ingress check, and a REST proxy of Sasquatch behind it.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::json;

use super::auth::{Bootstrap, Caller, authenticate};
use super::error::{Challenge, method_not_allowed, not_found, validation};
use super::state::State;
use crate::http::{Request, json as json_response};

/// The path of Sasquatch's REST proxy.
pub(crate) const SASQUATCH: &str = "/sasquatch-rest-proxy/";
const SCOPE: &str = "write:sasquatch";

/// Responds as the check, or as the service behind it.
pub(crate) fn respond(state: &State, request: &Request) -> Response<Body> {
    match request.uri.path() {
        "/ingress/auth" => {
            let missing: Vec<_> = ["X-Original-Method", "X-Original-URL"]
                .iter()
                .filter(|name| !request.headers.contains_key(**name))
                .map(|name| {
                    json!({"type": "missing", "loc": ["header", name], "msg": "Field required", "input": null})
                })
                .collect();
            if !missing.is_empty() {
                return validation(missing);
            }
            let query = request.query();
            let scopes = query.iter().filter(|(name, _)| name == "scope").map(|(_, scope)| scope.as_str());
            check(state, request, &scopes.collect::<Vec<_>>())
        }
        path if path.starts_with(SASQUATCH) => {
            let checked = check(state, request, &[SCOPE]);
            if checked.status() != StatusCode::OK {
                return checked;
            }
            if request.method != Method::POST {
                return method_not_allowed(&Method::POST);
            }
            let offsets = json!([{"partition": 0, "offset": 0}]);
            json_response(
                StatusCode::OK,
                &json!({"key_schema_id": null, "value_schema_id": 1, "offsets": offsets}),
            )
        }
        _ => not_found(),
    }
}

fn check(state: &State, request: &Request, scopes: &[&str]) -> Response<Body> {
    let caller = match authenticate(state, request, Bootstrap::Refused) {
        Ok(Caller::Token(token)) => token,
        Ok(Caller::Bootstrap) => unreachable!("refused"),
        Err(refusal) => return *refusal,
    };
    if let Some(scope) = scopes.iter().find(|scope| !caller.has(scope)) {
        return Challenge {
            realm: state.realm.clone(),
            status: StatusCode::FORBIDDEN,
            error_status: "403",
            kind: "insufficient_scope",
            message: "Token missing required scope",
            scope: Some(scope),
        }
        .response();
    }
    let headers = [("x-auth-request-user", caller.username)];
    (headers, json_response(StatusCode::OK, &json!({"status": "ok"}))).into_response()
}
