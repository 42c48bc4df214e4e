//! Gafaelfawr's token API, its ingress check, and a Sasquatch-like endpoint behind it. Answers as
//! Gafaelfawr 15.4.1 was recorded to answer (`testdata/gafaelfawr/cases.jsonl`).

mod auth;
mod create;
mod error;
mod ingress;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, Sandbox, json as json_answer, random_word};
use crate::date::unix_now;
use auth::Caller;
use error::{detail, method_not_allowed, not_found, permission_denied, validation};

/// Where its state is shown (GET) and changed (POST, see [`Change`]).
pub const CONTROL: &str = "/sandbox/gafaelfawr";
const API: &str = "/auth/api/v1/";
/// How long a request hangs while Redis is away, before it is answered.
const REDIS_TIMEOUT: Duration = Duration::from_millis(9200);

/// Whether this is a path of Gafaelfawr's, or one behind it.
pub fn is_path(path: &str) -> bool {
    path.starts_with("/auth") || path.starts_with("/ingress/") || path.starts_with(ingress::SASQUATCH)
}

/// A token.
#[derive(Clone)]
struct Token {
    key: String,
    secret: String,
    username: String,
    kind: String,
    scopes: Vec<String>,
    created: u64,
    expires: Option<u64>,
    label: Option<String>,
}

impl Token {
    fn show(&self) -> Value {
        let mut shown = json!({
            "username": self.username, "token_type": self.kind, "scopes": self.scopes,
            "created": self.created, "token": self.key,
        });
        if let Some(expires) = self.expires {
            shown["expires"] = expires.into();
        }
        if let Some(name) = &self.label {
            shown["token_name"] = name.as_str().into();
        }
        shown
    }

    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|has| has == scope)
    }
}

/// What is away.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Down {
    Redis,
    Postgres,
}

struct State {
    /// Oldest first.
    tokens: Vec<Token>,
    bootstrap: String,
    session: String,
    clock_ahead: u64,
    down: Option<Down>,
    down_after: Duration,
}

/// What Gafaelfawr knows.
pub struct Environment {
    state: Mutex<State>,
    admin_token: String,
}

impl Environment {
    /// An environment with a bootstrap token, a session cookie, and a person's admin token.
    ///
    /// # Errors
    /// In words, if there is no random source.
    pub fn new() -> Result<Environment, String> {
        let mut state = State {
            tokens: Vec::new(),
            bootstrap: format!("gt-{}.{}", random_word(16)?, random_word(16)?),
            session: random_word(48)?,
            clock_ahead: 0,
            down: None,
            down_after: REDIS_TIMEOUT,
        };
        let scopes = ["admin:token", "user:token"].map(str::to_owned).to_vec();
        let admin_token = state.add("admin", "user", scopes, None, Some("sandbox".to_owned()))?;
        Ok(Environment { state: Mutex::new(state), admin_token })
    }

    /// The admin token that the sandbox exports.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> u64 {
        unix_now() + self.clock_ahead
    }

    fn add(
        &mut self,
        username: &str,
        kind: &str,
        mut scopes: Vec<String>,
        expires: Option<u64>,
        label: Option<String>,
    ) -> Result<String, String> {
        scopes.sort_unstable();
        let (key, secret) = (random_word(16)?, random_word(16)?);
        let token = format!("gt-{key}.{secret}");
        let (username, kind) = (username.to_owned(), kind.to_owned());
        let created = self.now();
        self.tokens.push(Token { key, secret, username, kind, scopes, created, expires, label });
        Ok(token)
    }
}

/// What can be changed from outside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    /// How far its clock is ahead of the real one.
    clock_ahead_seconds: Option<u64>,
    /// Runs the periodic maintenance, which removes expired tokens.
    #[serde(default)]
    maintenance: bool,
    /// `redis` or `postgres` is away; absent or null: all is well again.
    down: Option<Down>,
    /// How long a request then hangs, if Redis is away (9.2 s).
    down_after_ms: Option<u64>,
}

/// Shows or changes the state.
pub fn control(sandbox: &Sandbox, asked: &Asked) -> Response<Body> {
    let mut state = sandbox.gafaelfawr.state();
    if asked.method == Method::POST {
        let change: Change = match serde_json::from_slice(&asked.body) {
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
    json_answer(StatusCode::OK, &shown)
}

/// Answers a request.
pub async fn answer(sandbox: &Sandbox, asked: &Asked) -> Response<Body> {
    let (down, after) = {
        let state = sandbox.gafaelfawr.state();
        (state.down, state.down_after)
    };
    let path = asked.uri.path();
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
        return ingress::answer(sandbox, asked);
    }
    let Some(route) = path.strip_prefix(API) else { return not_found() };
    if let Some(known) = route.strip_suffix('/').filter(|known| Route::find(known).is_some()) {
        // From the Host header, as Starlette does, and before anything else is looked at.
        let host = asked.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
        let location = format!("http://{host}{API}{known}");
        return (StatusCode::TEMPORARY_REDIRECT, [("location", location)]).into_response();
    }
    match Route::find(route) {
        Some(route) => route.answer(sandbox, asked),
        None => not_found(),
    }
}

fn internal_error() -> Response<Body> {
    let headers = [("content-type", "text/plain; charset=utf-8")];
    (StatusCode::INTERNAL_SERVER_ERROR, headers, "Internal Server Error").into_response()
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

    fn answer(&self, sandbox: &Sandbox, asked: &Asked) -> Response<Body> {
        let allowed: &[Method] = match self {
            Route::Tokens => &[Method::POST],
            Route::TokenInfo | Route::UserInfo | Route::UserTokens(_) => &[Method::GET],
            Route::UserToken(..) => &[Method::GET, Method::DELETE],
        };
        if !allowed.contains(&asked.method) {
            return method_not_allowed(&allowed[0]);
        }
        if let Route::Tokens = self {
            return create::create(sandbox, asked);
        }
        let mut state = sandbox.gafaelfawr.state();
        let caller = match auth::authenticate(&state, asked, &sandbox.address, auth::Bootstrap::Refused) {
            Ok(Caller::Token(token)) => token,
            Ok(Caller::Bootstrap) => unreachable!("refused"),
            Err(refusal) => return *refusal,
        };
        let (user, key) = match self {
            Route::TokenInfo => return json_answer(StatusCode::OK, &caller.show()),
            Route::UserInfo => {
                return json_answer(StatusCode::OK, &json!({"username": caller.username, "groups": []}));
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
            return json_answer(StatusCode::OK, &tokens.iter().map(|token| token.show()).collect());
        };
        let Some(at) = state.tokens.iter().position(|token| token.username == user && token.key == key)
        else {
            return detail(
                StatusCode::NOT_FOUND,
                &json!([{"msg": "Token not found", "type": "not_found", "loc": ["path", "key"]}]),
            );
        };
        if asked.method == Method::GET {
            return json_answer(StatusCode::OK, &state.tokens[at].show());
        }
        state.tokens.remove(at);
        (StatusCode::NO_CONTENT, [("content-type", "application/json")]).into_response()
    }
}

/// Refuses who may not act on these tokens, and what cannot be a user or a key.
fn may_act(caller: &Token, user: &str, key: Option<&str>) -> Option<Response<Body>> {
    let admin = caller.has("admin:token");
    if !admin && !caller.has("user:token") {
        return Some(permission_denied("Token does not have required scope user:token"));
    }
    let errors: Vec<Value> =
        create::username_error(user, "path").into_iter().chain(key.and_then(create::key_error)).collect();
    if !errors.is_empty() {
        return Some(validation(errors));
    }
    (!admin && caller.username != user)
        .then(|| permission_denied(&format!("Cannot act on tokens for user {user}")))
}
