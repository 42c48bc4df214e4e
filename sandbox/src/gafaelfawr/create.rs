//! `POST /auth/api/v1/tokens`, with checks in the server's order: JSON, authentication, fields, rules.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use super::auth::{Bootstrap, Caller, authenticate};
use super::error::{internal_error, permission_denied, validation};
use super::identifiers::username_error;
use super::state::State;
use crate::clock::midnight;
use crate::http::{Request, json as json_response};

const MIN_LIFETIME_SECONDS: u64 = 300;
/// Larger integers are read as milliseconds (cases 211, 225 and 226).
const MAX_SECONDS: u64 = 20_000_000_000;
/// The known scopes.
const SCOPES: [&str; 9] = [
    "admin:token",
    "exec:admin",
    "exec:notebook",
    "exec:portal",
    "read:all",
    "read:image",
    "read:tap",
    "user:token",
    "write:sasquatch",
];

pub(crate) fn create(state: &mut State, request: &Request) -> Response<Body> {
    let body = match body(request) {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    match authenticate(state, request, Bootstrap::Accepted) {
        Err(refusal) => return *refusal,
        Ok(Caller::Token(token)) if !token.has("admin:token") => {
            return permission_denied("Token does not have required scope admin:token");
        }
        Ok(_) => {}
    }
    let body = match body {
        Value::Object(body) => body,
        Value::Null => {
            return validation(vec![
                json!({"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}),
            ]);
        }
        other => {
            return validation(vec![json!({
                "type": "model_attributes_type", "loc": ["body"], "input": other,
                "msg": "Input should be a valid dictionary or object to extract fields from",
            })]);
        }
    };
    let errors = field_errors(&body);
    if !errors.is_empty() {
        return validation(errors);
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let (username, token_type) = (text("username"), text("token_type"));
    if token_type == "service" && !username.starts_with("bot-") {
        return permission_denied(&format!("Username \"{username}\" must start with \"bot-\""));
    }
    let Some(scopes) = scopes(&body) else { return internal_error() };
    let rule = |kind: &str, field: &str, message: &str| {
        validation(vec![json!({"msg": message, "type": kind, "loc": ["body", field]})])
    };
    if !scopes.iter().all(|scope| SCOPES.contains(&scope.as_str())) {
        return rule("invalid_scopes", "scopes", "Unknown scopes requested");
    }
    let expires = body.get("expires").and_then(expires);
    if expires.is_some_and(|expires| expires < state.now() + MIN_LIFETIME_SECONDS) {
        return rule("invalid_expires", "expires", "Token must be valid for at least five minutes");
    }
    let token_name = body.get("token_name").and_then(Value::as_str).map(str::to_owned);
    let token = match state.add(username, token_type, scopes, expires, token_name) {
        Ok(token) => token,
        Err(why) => {
            crate::log::rejected("a new Gafaelfawr token", &why);
            return internal_error();
        }
    };
    let key = token.strip_prefix("gt-").and_then(|rest| rest.split('.').next()).unwrap_or_default();
    let location = format!("/auth/api/v1/users/{username}/tokens/{key}");
    ([("location", location)], json_response(StatusCode::CREATED, &json!({"token": token}))).into_response()
}

/// The body as the server reads it: without JSON's content type, it is only text.
fn body(request: &Request) -> Result<Value, Box<Response<Body>>> {
    let text = String::from_utf8_lossy(&request.body);
    let kind = request.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    if text.is_empty() {
        return Ok(Value::Null);
    }
    if !is_json {
        return Ok(text.into_owned().into());
    }
    serde_json::from_str(&text).map_err(|error| {
        // Python parses NaN, but cannot make a date of it.
        if serde_json::from_str::<Value>(&text.replace("NaN", "0")).is_ok() {
            return Box::new(internal_error());
        }
        let lines_before: usize = text.split_inclusive('\n').take(error.line() - 1).map(str::len).sum();
        Box::new(validation(vec![json!({
            "type": "json_invalid", "loc": ["body", lines_before + error.column()], "msg": "JSON decode error",
            "input": {}, "ctx": {"error": error.to_string()},
        })]))
    })
}

fn missing(name: &str, body: &Map<String, Value>) -> Value {
    json!({"type": "missing", "loc": ["body", name], "msg": "Field required", "input": body})
}

fn field_errors(body: &Map<String, Value>) -> Vec<Value> {
    let mut errors = Vec::new();
    match body.get("username") {
        None => errors.push(missing("username", body)),
        Some(Value::String(name)) => errors.extend(username_error(name, "body")),
        Some(other) => errors.push(json!({
            "type": "string_type", "loc": ["body", "username"], "msg": "Input should be a valid string", "input": other,
        })),
    }
    match body.get("token_type") {
        None => errors.push(missing("token_type", body)),
        Some(kind) => errors.extend(token_type_error(kind)),
    }
    if let Some(given) = body.get("expires").filter(|given| !given.is_null() && expires(given).is_none()) {
        errors.push(json!({
            "type": "datetime_from_date_parsing", "loc": ["body", "expires"], "input": given,
            "msg": "Input should be a valid datetime or date, input is too short",
            "ctx": {"error": "input is too short"},
        }));
    }
    for name in ["uid", "gid"] {
        if let Some(number) = body.get(name).and_then(Value::as_i64).filter(|&number| number < 1) {
            errors.push(json!({
                "type": "greater_than_equal", "loc": ["body", name], "input": number,
                "msg": "Input should be greater than or equal to 1", "ctx": {"ge": 1},
            }));
        }
    }
    errors
}

fn token_type_error(kind: &Value) -> Option<Value> {
    const EXPECTED: &str = "'session', 'user', 'notebook', 'internal', 'service' or 'oidc'";
    match kind.as_str() {
        Some("service" | "user") => None,
        Some("session" | "notebook" | "internal" | "oidc") => Some(json!({
            "type": "value_error", "loc": ["body", "token_type"], "input": kind, "ctx": {"error": {}},
            "msg": "Value error, token_type must be service or user",
        })),
        _ => Some(json!({
            "type": "enum", "loc": ["body", "token_type"], "input": kind, "ctx": {"expected": EXPECTED},
            "msg": format!("Input should be {EXPECTED}"),
        })),
    }
}

/// The scopes; `None` for null, which the server does not handle.
fn scopes(body: &Map<String, Value>) -> Option<Vec<String>> {
    let words = |text: &str| {
        text.split(',').map(str::trim).filter(|scope| !scope.is_empty()).map(str::to_owned).collect()
    };
    match body.get("scopes") {
        Some(Value::Null) => None,
        Some(Value::String(text)) => Some(words(text)),
        Some(Value::Array(list)) => Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => Some(Vec::new()),
    }
}

/// A point in time: Unix seconds (milliseconds if large), or RFC 3339, in UTC unless it has an offset.
fn expires(given: &Value) -> Option<u64> {
    let seconds = |number: u64| if number > MAX_SECONDS { number / 1000 } else { number };
    match given {
        Value::Number(number) => match (number.as_u64(), number.as_f64()) {
            (Some(number), _) => Some(seconds(number)),
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the floor is meant")]
            (None, Some(number)) => Some(number.max(0.0) as u64),
            (None, None) => None,
        },
        Value::String(text) => match text.parse() {
            Ok(number) => Some(seconds(number)),
            Err(_) => rfc3339(text),
        },
        _ => None,
    }
}

fn rfc3339(text: &str) -> Option<u64> {
    let midnight = midnight(text.get(..10)?)?;
    let clock = match text.get(10..)? {
        "" => return u64::try_from(midnight).ok(),
        clock => clock.strip_prefix(['T', 't', ' '])?,
    };
    let number = |range: std::ops::Range<usize>| clock.get(range)?.parse::<i64>().ok();
    let of_day = number(0..2)? * 3600 + number(3..5)? * 60 + number(6..8)?;
    let zone = clock.get(8..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = if zone.starts_with('-') { -1 } else { 1 };
            sign * (zone.get(1..3)?.parse::<i64>().ok()? * 3600 + zone.get(4..6)?.parse::<i64>().ok()? * 60)
        }
    };
    u64::try_from(midnight + of_day - offset).ok()
}
