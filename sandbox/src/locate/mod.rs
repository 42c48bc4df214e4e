//! Locate's `/v2/platform/monitoring/` (m-lab/locate, `handler/monitoring.go`), as recorded from two versions
//! (`testdata/locate/cases.jsonl`). Only the URLs differ: they lead to this sandbox, which has no TLS.

mod machine;

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use crate::go;
use crate::http::Request;
use crate::jwt::{self, Rules, Signer, VerifyKeys};
use machine::Machine;

/// The prefix of `LOCATE_URL`.
pub(crate) const PATH: &str = "/v2/platform/monitoring/";
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(60);
const TEXT: (&str, &str) = ("content-type", "text/plain; charset=utf-8");

/// The services and the keys of their URLs (m-lab/locate, `static/configs.go`).
const SERVICES: [(&str, &[&str]); 5] = [
    (
        "ndt/ndt7",
        &["ws:///ndt/v7/upload", "ws:///ndt/v7/download", "wss:///ndt/v7/upload", "wss:///ndt/v7/download"],
    ),
    ("ndt/ndt5", &["ws://:3001/ndt_protocol", "wss://:3010/ndt_protocol"]),
    ("neubot/dash", &["https:///negotiate/dash"]),
    ("wehe/replay", &["wss://:4443/v0/envelope/access"]),
    ("iperf3/test", &["wss:///v0/envelope/access"]),
];

/// The version of Locate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// v0.17.6
    V017,
    /// v0.19.2
    #[default]
    V019,
}

impl Version {
    fn rules(self) -> Rules {
        match self {
            Version::V017 => Rules { leeway: Duration::from_secs(60), algorithms: None },
            Version::V019 => jwt::STRICT,
        }
    }

    /// True if the token of a request for this path is verified. For other paths it is not even read.
    fn verifies(self, path: &[u8]) -> bool {
        let paths = [&b"/v2/platform/monitoring/ndt/ndt7"[..], b"/v2/platform/monitoring/wehe/replay"];
        self == Version::V017 || paths.contains(&path)
    }

    fn redirect(self) -> (StatusCode, &'static str) {
        match self {
            Version::V017 => (StatusCode::MOVED_PERMANENTLY, "Moved Permanently"),
            Version::V019 => (StatusCode::TEMPORARY_REDIRECT, "Temporary Redirect"),
        }
    }

    /// The audience of an access token: a string since go-jose v4.
    fn audience(self, machine: &str) -> Value {
        match self {
            Version::V017 => json!([machine]),
            Version::V019 => json!(machine),
        }
    }
}

/// True if Locate responds to this path, perhaps with a redirect to its clean form.
pub(crate) fn is_path(path: &str) -> bool {
    let clean = go::clean_path(path);
    clean.starts_with(PATH) || clean == PATH.trim_end_matches('/')
}

/// 404, as from Go's `net/http`.
pub(crate) fn not_found() -> Response<Body> {
    let headers = [TEXT, ("x-content-type-options", "nosniff")];
    (StatusCode::NOT_FOUND, headers, "404 page not found\n").into_response()
}

pub(crate) struct Locate {
    pub(crate) version: Version,
    pub(crate) address: SocketAddr,
    /// The keys that may sign monitoring requests.
    pub(crate) monitoring_keys: VerifyKeys,
    /// Signs access tokens.
    pub(crate) signer: Signer,
}

/// A result as Locate writes it, without a content type, so that Go guesses one.
fn result(status: StatusCode, body: &Value) -> Response<Body> {
    (status, [TEXT], format!("{body:#}")).into_response()
}

fn error(status: StatusCode, kind: &str, title: &str) -> Response<Body> {
    let error = json!({"type": kind, "title": title, "status": status.as_u16()});
    result(status, &json!({"error": error, "access_token": ""}))
}

impl Locate {
    pub(crate) fn respond(&self, request: &Request) -> Response<Body> {
        let escaped = request.uri.path();
        let Some(path) = go::unescape_path(escaped) else {
            return (StatusCode::BAD_REQUEST, [TEXT], "400 Bad Request").into_response();
        };
        let clean = go::clean_path(escaped);
        if !clean.starts_with(PATH) {
            return self.redirect(request, &format!("{clean}/"));
        }
        if clean != escaped {
            // Go escapes existing escapes once more.
            return self.redirect(request, &clean.replace('%', "%25"));
        }
        if !self.version.verifies(&path) {
            return error(StatusCode::BAD_REQUEST, "claim", "Must provide access_token");
        }
        match self.subject(request) {
            Ok(subject) => self.grant(request, &String::from_utf8_lossy(&path), &subject),
            Err(why) => {
                crate::log::rejected("a monitoring request", &why);
                StatusCode::UNAUTHORIZED.into_response()
            }
        }
    }

    /// The machine that a valid token names.
    fn subject(&self, request: &Request) -> Result<String, String> {
        let token = go::first_value(&form(request), "access_token");
        let verified = self.monitoring_keys.verify(&token, "monitoring", self.version.rules())?;
        if verified.audience.iter().any(|audience| audience == "locate") {
            Ok(verified.subject)
        } else {
            Err(format!("meant for {:?}", verified.audience))
        }
    }

    fn grant(&self, request: &Request, path: &str, name: &str) -> Response<Body> {
        let Some(machine) = Machine::parse(name) else {
            return error(StatusCode::BAD_REQUEST, "subject", "Subject must be specified");
        };
        let (experiment, datatype) = go::last_two(path);
        let service = format!("{experiment}/{datatype}");
        let Some((_, keys)) = SERVICES.iter().find(|(name, _)| *name == service) else {
            return error(StatusCode::BAD_REQUEST, "config", &format!("Unknown service: {service}"));
        };
        let audience = self.version.audience(name);
        let access_token = match self.signer.access_token(&audience, ACCESS_TOKEN_LIFETIME) {
            Ok(token) => token,
            Err(why) => return error(StatusCode::INTERNAL_SERVER_ERROR, "token", &why),
        };
        let query = query_with_token(request, &access_token);
        let url = |key: &&str| ((*key).to_owned(), self.url(key, &query).into());
        let urls: Map<String, Value> = keys.iter().map(url).collect();
        let hostname = machine.with_service(&experiment);
        let target = json!({"machine": name, "hostname": hostname, "urls": urls});
        result(StatusCode::OK, &json!({"access_token": access_token, "target": target, "results": [target]}))
    }

    /// The URL of a key: its path on this sandbox.
    fn url(&self, key: &str, query: &str) -> String {
        let (scheme, rest) = key.split_once("://").unwrap_or(("ws", key));
        let scheme = if scheme.starts_with("ws") { "ws" } else { "http" };
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        format!("{scheme}://{}{path}?{query}", self.address)
    }

    /// Redirects to a path, with the query, as Go's `net/http` does: only a GET gets a body.
    fn redirect(&self, request: &Request, path: &str) -> Response<Body> {
        let (status, text) = self.version.redirect();
        let location = match request.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        let body = format!("<a href=\"{}\">{text}</a>.\n\n", escape_html(&location));
        let location = [("location", location)];
        let html = [("content-type", "text/html; charset=utf-8")];
        match request.method {
            Method::GET | Method::HEAD => (status, location, html, body).into_response(),
            _ => (status, location).into_response(),
        }
    }
}

/// The parameters of a request, with those of a form in its body first.
fn form(request: &Request) -> Vec<(Vec<u8>, Vec<u8>)> {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(&request.method);
    let kind = request.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut parameters = Vec::new();
    if has_body && kind == "application/x-www-form-urlencoded" {
        parameters = go::parse_query(&String::from_utf8_lossy(&request.body));
    }
    parameters.extend(go::parse_query(request.uri.query().unwrap_or_default()));
    parameters
}

/// The query of a URL: the access token and the first value of each parameter of the request, sorted.
fn query_with_token(request: &Request, access_token: &str) -> String {
    let token = (b"access_token".to_vec(), access_token.as_bytes().to_vec());
    let mut parameters = vec![token];
    parameters.extend(go::parse_query(request.uri.query().unwrap_or_default()));
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    parameters.dedup_by(|(later, _), (first, _)| later == first);
    let pair = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}={}", go::escape_query(name), go::escape_query(value))
    };
    parameters.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&#34;")
        .replace('\'', "&#39;")
}
