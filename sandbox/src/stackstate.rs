//! StackState's service tokens (the vendor's OpenAPI specification, `testdata/stackstate/`). Stricter than the real
//! service: anything outside the specification is refused, so that a client's mistakes show.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::since_epoch;
use crate::http::{MAX_KEPT_BYTES, Request, json as json_response};
use crate::random;

pub(crate) const PATH: &str = "/api/";
/// The path that shows its state.
pub(crate) const CONTROL: &str = "/sandbox/stackstate";
/// Too large for a float.
const FIRST_ID: i64 = (1 << 53) + 1;
/// The role that may manage tokens.
const ADMIN_ROLE: &str = "stackstate-admin";

#[derive(Clone)]
struct Token {
    id: i64,
    name: String,
    secret: String,
    roles: Vec<String>,
    created_millis: i64,
    expiration: Option<i64>,
    dedicated_subject: Option<String>,
}

impl Token {
    fn bytes(&self) -> usize {
        let roles = self.roles.iter().map(|role| size_of::<String>() + role.len()).sum::<usize>();
        let subject = self.dedicated_subject.as_ref().map_or(0, String::len);
        size_of::<Token>() + self.name.len() + roles + subject
    }

    fn show(&self) -> Value {
        let mut shown = json!({
            "id": self.id, "name": self.name, "roles": self.roles, "lastUpdateTimestamp": self.created_millis
        });
        if let Some(expiration) = self.expiration {
            shown["expiration"] = expiration.into();
        }
        if let Some(subject) = &self.dedicated_subject {
            shown["dedicatedSubject"] = subject.as_str().into();
        }
        shown
    }
}

pub(crate) struct Installation {
    api_token: String,
    tokens: Mutex<(i64, Vec<Token>)>,
}

impl Installation {
    /// An installation with one person.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new() -> Result<Installation, String> {
        Ok(Installation { api_token: random::word(24)?, tokens: Mutex::new((FIRST_ID, Vec::new())) })
    }

    /// The exported API token of that person.
    pub(crate) fn api_token(&self) -> &str {
        &self.api_token
    }

    /// Shows the tokens.
    pub(crate) fn control(&self) -> Response<Body> {
        let tokens: Vec<Value> = self.tokens().1.iter().map(Token::show).collect();
        json_response(StatusCode::OK, &json!({"tokens": tokens}))
    }

    /// Responds to a request.
    pub(crate) fn respond(&self, request: &Request) -> Response<Body> {
        let Some(caller) = authenticate(self, request) else {
            return errors(StatusCode::UNAUTHORIZED, "unknown or expired credential");
        };
        let path = request.uri.path().strip_prefix(PATH).unwrap_or_default();
        if path == "server/info" && request.method == Method::GET {
            let version =
                json!({"major": 6, "minor": 0, "patch": 0, "diff": "", "commit": "sandbox", "isDev": false});
            let info = json!({"version": version, "deploymentMode": "SelfHosted", "applicationDomains": ["Observability"]});
            return json_response(StatusCode::OK, &info);
        }
        let segments: Vec<&str> = path.split('/').collect();
        if !matches!(segments.as_slice(), ["security", "tokens"] | ["security", "tokens", _]) {
            return StatusCode::NOT_FOUND.into_response();
        }
        if let Caller::Service(token) = &caller
            && !token.roles.iter().any(|role| role == ADMIN_ROLE)
        {
            return errors(StatusCode::FORBIDDEN, "the role does not allow it");
        }
        match (&request.method, segments.get(2)) {
            (&Method::GET, None) => {
                let tokens: Vec<Value> = self.tokens().1.iter().map(Token::show).collect();
                json_response(StatusCode::OK, &json!(tokens))
            }
            (&Method::POST, None) => create(self, request),
            (&Method::DELETE, Some(id)) => delete(self, id),
            _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        }
    }

    fn tokens(&self) -> MutexGuard<'_, (i64, Vec<Token>)> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn now_millis() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

fn errors(status: StatusCode, message: &str) -> Response<Body> {
    let body = json!({
        "_type": "ErrorsResponse", "trackingKey": "sandbox", "serverTimestamp": now_millis(),
        "errors": [{"_type": "InternalError", "message": message, "errorCode": status.as_u16()}],
    });
    json_response(status, &body)
}

/// The authenticated caller.
enum Caller {
    Person,
    Service(Token),
}

fn authenticate(installation: &Installation, request: &Request) -> Option<Caller> {
    if let Some(token) = request.header("x-api-token") {
        return (token == installation.api_token).then_some(Caller::Person);
    }
    let key =
        request.header("x-api-key").or_else(|| request.header("authorization")?.strip_prefix("ApiKey "))?;
    let tokens = installation.tokens();
    let live = |token: &&Token| token.expiration.is_none_or(|expiration| expiration > now_millis());
    tokens.1.iter().filter(live).find(|token| token.secret == key).cloned().map(Caller::Service)
}

/// `NewServiceTokenRequest`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewToken {
    name: String,
    roles: Vec<String>,
    expiry_date: Option<i64>,
    dedicated_subject: Option<String>,
}

fn create(installation: &Installation, request: &Request) -> Response<Body> {
    if request.headers.get("content-type").is_none_or(|kind| kind != "application/json") {
        return errors(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json");
    }
    let new: NewToken = match serde_json::from_slice(&request.body) {
        Ok(new) => new,
        Err(error) => return errors(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    if new.expiry_date.is_some_and(|expiry| expiry <= now_millis()) {
        let message = "The expiry date must be in the future";
        let body = json!({"_type": "ServiceTokenInvalidExpiryError", "message": message});
        return json_response(StatusCode::BAD_REQUEST, &body);
    }
    let Ok(random) = random::word(24) else {
        return errors(StatusCode::INTERNAL_SERVER_ERROR, "the system random number generator failed");
    };
    let mut tokens = installation.tokens();
    let token = Token {
        id: tokens.0,
        name: new.name,
        secret: format!("svctok-{random}"),
        roles: new.roles,
        created_millis: now_millis(),
        expiration: new.expiry_date,
        dedicated_subject: new.dedicated_subject.filter(|subject| !subject.is_empty()),
    };
    if tokens.1.iter().chain([&token]).map(Token::bytes).sum::<usize>() > MAX_KEPT_BYTES {
        return errors(StatusCode::INSUFFICIENT_STORAGE, "too many tokens are kept; delete some");
    }
    tokens.0 += 1;
    let mut created = json!({"name": token.name, "token": token.secret});
    if let Some(expiration) = token.expiration {
        created["expiration"] = expiration.into();
    }
    tokens.1.push(token);
    json_response(StatusCode::OK, &created)
}

fn delete(installation: &Installation, id: &str) -> Response<Body> {
    let Ok(id) = id.parse::<i64>() else {
        return errors(StatusCode::BAD_REQUEST, "the id must be an integer");
    };
    let mut tokens = installation.tokens();
    match tokens.1.iter().position(|token| token.id == id) {
        Some(at) => {
            tokens.1.remove(at);
            StatusCode::NO_CONTENT.into_response()
        }
        None => errors(StatusCode::NOT_FOUND, "no such service token"),
    }
}
