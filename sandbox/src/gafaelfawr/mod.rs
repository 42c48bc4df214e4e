//! Gafaelfawr's token API, its ingress check, and a Sasquatch-like endpoint behind it. Responds like the recorded
//! Gafaelfawr 15.4.1 (`testdata/gafaelfawr/cases.jsonl`).

mod auth;
mod create;
mod error;
mod identifiers;
mod ingress;
mod state;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::http::{Request, json as json_response};
use auth::Caller;
use error::{detail, internal_error, method_not_allowed, not_found, permission_denied, validation};
use state::{Down, REDIS_TIMEOUT, State, Token};

/// The path that shows its state (GET) and changes it (POST, see [`Change`]).
pub(crate) const CONTROL: &str = "/sandbox/gafaelfawr";
const API: &str = "/auth/api/v1/";

/// True for a path of Gafaelfawr, or one behind it.
pub(crate) fn is_path(path: &str) -> bool {
    path.starts_with("/auth") || path.starts_with("/ingress/") || path.starts_with(ingress::SASQUATCH)
}

/// A change of its state from outside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// How far to put its clock ahead.
    clock_ahead_seconds: Option<u64>,
    /// Run the periodic maintenance, which removes expired tokens.
    #[serde(default)]
    maintenance: bool,
    /// `redis` or `postgres` is down; missing or null: neither is.
    down: Option<Down>,
    /// How long a request hangs while Redis is down (9.2 s by default).
    down_after_ms: Option<u64>,
}

pub(crate) struct Environment {
    state: Mutex<State>,
    admin_token: String,
}

impl Environment {
    /// An environment with a bootstrap token, a session cookie, and a person's admin token.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(host: IpAddr) -> Result<Environment, String> {
        let mut state = State::new(host.to_string())?;
        let scopes = ["admin:token", "user:token"].map(str::to_owned).to_vec();
        let admin_token = state.add("admin", "user", scopes, None, Some("sandbox".to_owned()))?;
        Ok(Environment { state: Mutex::new(state), admin_token })
    }

    /// The admin token that the sandbox exports.
    pub(crate) fn admin_token(&self) -> &str {
        &self.admin_token
    }

    pub(crate) fn control(&self, request: &Request) -> Response<Body> {
        let mut state = self.state();
        if request.method == Method::POST {
            let change: Change = match serde_json::from_slice(&request.body) {
                Ok(change) => change,
                Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
            };
            state.clock_ahead = change.clock_ahead_seconds.unwrap_or(state.clock_ahead);
            state.down = change.down;
            state.down_after = change.down_after_ms.map_or(REDIS_TIMEOUT, Duration::from_millis);
            if change.maintenance {
                let now = state.now();
                state.tokens.retain(|token| token.expires.is_none_or(|expires| expires > now));
            }
        }
        let tokens: Vec<Value> = state.tokens.iter().map(Token::show).collect();
        let shown =
            json!({"bootstrap_token": state.bootstrap, "session_cookie": state.session, "tokens": tokens});
        json_response(StatusCode::OK, &shown)
    }

    /// Responds to a request.
    pub(crate) async fn respond(&self, request: &Request) -> Response<Body> {
        let (down, after) = {
            let state = self.state();
            (state.down, state.down_after)
        };
        let path = request.uri.path();
        let ingress = !path.starts_with("/auth");
        match down {
            Some(Down::Redis) => {
                tokio::time::sleep(after).await;
                return internal_error();
            }
            Some(Down::Postgres) if !ingress => return internal_error(),
            _ => {}
        }
        if ingress {
            return ingress::respond(&self.state(), request);
        }
        let Some(route) = path.strip_prefix(API) else { return not_found() };
        if let Some(known) = route.strip_suffix('/').filter(|known| Route::find(known).is_some()) {
            // The Host header comes first, as in Starlette.
            let host = request.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
            let location = format!("http://{host}{API}{known}");
            return (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response();
        }
        match Route::find(route) {
            Some(route) => route.respond(&mut self.state(), request),
            None => not_found(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Route<'a> {
    Tokens,
    TokenInfo,
    UserInfo,
    UserTokens(&'a str),
    UserToken(&'a str, &'a str),
}

impl Route<'_> {
    fn find(route: &str) -> Option<Route<'_>> {
        Some(match route.split('/').collect::<Vec<_>>().as_slice() {
            ["tokens"] => Route::Tokens,
            ["token-info"] => Route::TokenInfo,
            ["user-info"] => Route::UserInfo,
            ["users", user, "tokens"] => Route::UserTokens(user),
            ["users", user, "tokens", key] if !key.is_empty() => Route::UserToken(user, key),
            _ => return None,
        })
    }

    fn respond(&self, state: &mut State, request: &Request) -> Response<Body> {
        let allowed: &[Method] = match self {
            Route::Tokens => &[Method::POST],
            Route::TokenInfo | Route::UserInfo | Route::UserTokens(_) => &[Method::GET],
            Route::UserToken(..) => &[Method::GET, Method::DELETE],
        };
        if !allowed.contains(&request.method) {
            return method_not_allowed(&allowed[0]);
        }
        if let Route::Tokens = self {
            return create::create(state, request);
        }
        let caller = match auth::authenticate(state, request, auth::Bootstrap::Refused) {
            Ok(Caller::Token(token)) => token,
            Ok(Caller::Bootstrap) => unreachable!("refused"),
            Err(refusal) => return *refusal,
        };
        let (user, key) = match self {
            Route::TokenInfo => return json_response(StatusCode::OK, &caller.show()),
            Route::UserInfo => {
                return json_response(StatusCode::OK, &json!({"username": caller.username, "groups": []}));
            }
            Route::UserTokens(user) => (*user, None),
            Route::UserToken(user, key) => (*user, Some(*key)),
            Route::Tokens => unreachable!("answered above"),
        };
        if let Some(refusal) = may_act(&caller, user, key) {
            return refusal;
        }
        let Some(key) = key else {
            let mut tokens: Vec<&Token> = state.tokens.iter().rev().filter(|t| t.username == user).collect();
            tokens.sort_by_key(|token| std::cmp::Reverse(token.created));
            return json_response(StatusCode::OK, &tokens.iter().map(|token| token.show()).collect());
        };
        let Some(at) = state.tokens.iter().position(|token| token.username == user && token.key == key)
        else {
            return detail(
                StatusCode::NOT_FOUND,
                &json!([{"msg": "Token not found", "type": "not_found", "loc": ["path", "key"]}]),
            );
        };
        if request.method == Method::GET {
            return json_response(StatusCode::OK, &state.tokens[at].show());
        }
        state.tokens.remove(at);
        (StatusCode::NO_CONTENT, [("content-type", "application/json")]).into_response()
    }
}

/// Refuses callers that may not act on these tokens, and invalid users and keys.
fn may_act(caller: &Token, user: &str, key: Option<&str>) -> Option<Response<Body>> {
    let admin = caller.has("admin:token");
    if !admin && !caller.has("user:token") {
        return Some(permission_denied("Token does not have required scope user:token"));
    }
    let errors: Vec<Value> = identifiers::username_error(user, "path")
        .into_iter()
        .chain(key.and_then(identifiers::key_error))
        .collect();
    if !errors.is_empty() {
        return Some(validation(errors));
    }
    (!admin && caller.username != user)
        .then(|| permission_denied(&format!("Cannot act on tokens for user {user}")))
}
