//! Authentication: the Authorization header, Bearer or Basic, and the session cookie, which takes precedence.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::error::{Challenge, detail, no_authorization};
use super::identifiers::is_well_formed;
use super::state::{State, Token};
use crate::http::Request;

/// How a route treats the bootstrap token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bootstrap {
    /// As a token with all rights.
    Accepted,
    /// As an unknown token.
    Refused,
}

/// The authenticated caller.
pub(crate) enum Caller {
    /// The holder of the bootstrap token.
    Bootstrap,
    /// The holder of this token.
    Token(Token),
}

/// Authenticates the caller, or returns the refusal.
pub(crate) fn authenticate(
    state: &State,
    request: &Request,
    bootstrap: Bootstrap,
) -> Result<Caller, Box<Response<Body>>> {
    if has_session(state, request) && request.method != Method::GET {
        let error = json!([
            {"msg": "Invalid CSRF token", "type": "invalid_csrf", "loc": ["header", "X-CSRF-Token"]}
        ]);
        return Err(Box::new(detail(StatusCode::FORBIDDEN, &error)));
    }
    let realm = &state.realm;
    let refuse = |status, error_status, kind, message: &str| {
        let realm = realm.clone();
        Box::new(Challenge { realm, status, error_status, kind, message, scope: None }.response())
    };
    let invalid = |message: &str| refuse(StatusCode::UNAUTHORIZED, "401", "invalid_token", message);
    // A malformed header is a 400 that is sent as a 403.
    let malformed = |message: &str| refuse(StatusCode::FORBIDDEN, "400", "invalid_request", message);
    let header = request.header("authorization").unwrap_or_default();
    if header.is_empty() {
        return Err(Box::new(no_authorization(realm)));
    }
    let Some((scheme, rest)) = header.split_once([' ', '\t']) else {
        return Err(malformed("Malformed Authorization header"));
    };
    let rest = rest.trim_start();
    let token = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => rest.to_owned(),
        "basic" => match basic(rest) {
            Ok(Some(token)) => token,
            Ok(None) => return Err(Box::new(no_authorization(realm))),
            Err(message) => return Err(malformed(message)),
        },
        _ => return Err(malformed(&format!("Unknown Authorization type {scheme}"))),
    };
    if token == state.bootstrap {
        return match bootstrap {
            Bootstrap::Accepted => Ok(Caller::Bootstrap),
            Bootstrap::Refused => Err(invalid("Token is not valid")),
        };
    }
    let Some(parts) = token.strip_prefix("gt-") else {
        return Err(invalid("Token does not start with gt-"));
    };
    let Some((key, secret)) =
        parts.split_once('.').filter(|(key, secret)| is_well_formed(key) && is_well_formed(secret))
    else {
        return Err(invalid("Token is malformed"));
    };
    let now = state.now();
    let found = state.tokens.iter().find(|token| {
        token.key == key && token.secret == secret && token.expires.is_none_or(|expires| expires > now)
    });
    found.cloned().map(Caller::Token).ok_or_else(|| invalid("Token is not valid"))
}

/// The token in one half of Basic credentials; the other half may be anything.
fn basic(encoded: &str) -> Result<Option<String>, &'static str> {
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let decoded = decoded.ok_or("Invalid Basic auth string")?;
    let (user, password) = decoded
        .split_once(':')
        .filter(|(_, password)| !password.contains(':'))
        .ok_or("Invalid Basic auth string")?;
    match (user.starts_with("gt-"), password.starts_with("gt-")) {
        (true, true) if user != password => Err("Conflicting tokens in Basic username and password fields"),
        (true, _) => Ok(Some(user.to_owned())),
        (false, true) => Ok(Some(password.to_owned())),
        (false, false) => Ok(None),
    }
}

fn has_session(state: &State, request: &Request) -> bool {
    let cookies = request.header("cookie").unwrap_or_default();
    let sessions = cookies.split(';').filter_map(|cookie| cookie.trim().strip_prefix("gafaelfawr="));
    sessions.into_iter().any(|session| session == state.session)
}
