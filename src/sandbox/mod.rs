//! `monitoring-sandbox`: an embedded stand-in, on loopback, for Locate and a target server, for
//! Gafaelfawr and for StackState. For the demo, for the tests, and for users who have no key yet.
//!
//! It verifies what the real services verify, and answers as they do (the recorded cases and
//! specifications are named in each file). It has no TLS: URLs under `wss` keys are `ws` URLs.

pub mod fault;
pub mod flags;
pub mod gafaelfawr;
pub mod jwt;
pub mod locate;
pub mod probe;
pub mod requests;
pub mod stackstate;
pub mod target;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use axum::response::IntoResponse as _;
use tokio::net::TcpListener;

use fault::Faults;
use jwt::{Signer, VerifyKeys};

/// How much of a request is read.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// What the sandbox knows.
pub struct Sandbox {
    /// Where it listens.
    pub address: SocketAddr,
    /// The keys that may sign monitoring requests.
    pub monitoring_keys: VerifyKeys,
    /// Signs access tokens, as Locate does.
    pub locate_signer: Signer,
    /// How it misbehaves.
    pub faults: Faults,
    /// What Gafaelfawr knows.
    pub gafaelfawr: gafaelfawr::Environment,
    /// What StackState knows.
    pub stackstate: stackstate::Installation,
    /// What the token APIs were asked.
    pub requests: requests::Requests,
}

/// A request, read whole.
pub struct Asked {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Asked {
    /// The parameters of the query, decoded.
    pub fn query(&self) -> Vec<(String, String)> {
        let url = reqwest::Url::parse(&format!("http://sandbox/?{}", self.uri.query().unwrap_or_default()));
        url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, sandbox: Arc<Sandbox>) -> std::io::Result<()> {
    axum::serve(listener, Router::new().fallback(answer).with_state(sandbox)).await
}

async fn answer(State(sandbox): State<Arc<Sandbox>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MAX_REQUEST_BYTES).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let asked = Asked { method: parts.method, uri: parts.uri, headers: parts.headers, body };
    if asked.uri.path() == fault::PATH {
        return sandbox.faults.change(&asked);
    }
    match asked.uri.path() {
        requests::PATH => return sandbox.requests.show(),
        gafaelfawr::CONTROL => return gafaelfawr::control(&sandbox, &asked),
        stackstate::CONTROL => return stackstate::control(&sandbox),
        _ => {}
    }
    let number = sandbox.requests.begin(&asked);
    let fault = sandbox.faults.take(&asked);
    let (before, after) = if fault.after { (None, Some(fault)) } else { (Some(fault), None) };
    if let Some(fault) = before
        && let Some(response) = fault.apply().await
    {
        return response;
    }
    let response = sandbox.requests.end(number, route(&sandbox, &asked).await).await;
    match after {
        Some(fault) => fault.apply().await.unwrap_or(response),
        None => response,
    }
}

async fn route(sandbox: &Sandbox, asked: &Asked) -> Response<Body> {
    let path = asked.uri.path();
    if path.starts_with(locate::PATH) {
        locate::answer(sandbox, asked)
    } else if target::is_target(path) {
        target::answer(sandbox, asked)
    } else if gafaelfawr::is_path(path) {
        gafaelfawr::answer(sandbox, asked).await
    } else if path.starts_with(stackstate::PATH) {
        stackstate::answer(sandbox, asked)
    } else {
        StatusCode::NOT_FOUND.into_response()
    }
}

/// A JSON answer.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    (status, [("content-type", "application/json")], value.to_string()).into_response()
}

/// A random word that fits into a URL: `bytes` random bytes in base64url.
///
/// # Errors
/// In words, if there is no random source.
pub fn random_word(bytes: usize) -> Result<String, String> {
    use base64::Engine as _;
    let mut random = vec![0; bytes];
    crate::random::fill(&mut random)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random))
}
