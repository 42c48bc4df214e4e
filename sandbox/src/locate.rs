//! Locate's `/v2/platform/monitoring/` (m-lab/locate, `handler/monitoring.go`). All services enforce
//! tokens, as before v0.19.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde_json::{Map, Value, json};

use crate::http::{Request, json as json_response};
use crate::jwt::{STRICT, Signer, VerifyKeys};

/// The prefix of `LOCATE_URL`.
pub(crate) const PATH: &str = "/v2/platform/monitoring/";
const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

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

pub(crate) struct Locate {
    pub(crate) address: SocketAddr,
    /// The keys that may sign monitoring requests.
    pub(crate) monitoring_keys: VerifyKeys,
    /// Signs access tokens.
    pub(crate) signer: Signer,
}

fn error(status: StatusCode, kind: &str, title: &str) -> Response<Body> {
    json_response(status, &json!({"error": {"type": kind, "title": title, "status": status.as_u16()}}))
}

impl Locate {
    /// Responds to a monitoring request.
    pub(crate) fn respond(&self, request: &Request) -> Response<Body> {
        let query = request.query();
        let token = query.iter().find(|(name, _)| name == "access_token").map_or("", |(_, token)| token);
        let verified = self.monitoring_keys.verify(token, "monitoring", STRICT).and_then(|verified| {
            if verified.audience.iter().any(|audience| audience == "locate") {
                Ok(verified)
            } else {
                Err("meant for another audience".to_owned())
            }
        });
        let machine = match verified {
            Ok(verified) => verified.subject,
            Err(why) => {
                crate::log("a monitoring request", &why);
                return StatusCode::UNAUTHORIZED.into_response();
            }
        };
        if !is_mlab_host(&machine) {
            return error(StatusCode::BAD_REQUEST, "subject", "Subject must be specified");
        }
        let service = request.uri.path().strip_prefix(PATH).unwrap_or_default();
        let Some((_, keys)) = SERVICES.iter().find(|(name, _)| *name == service) else {
            return error(StatusCode::BAD_REQUEST, "config", &format!("Unknown service: {service}"));
        };
        let access_token = match self.signer.access_token(&json!([machine]), ACCESS_TOKEN_LIFETIME) {
            Ok(token) => token,
            Err(why) => return error(StatusCode::INTERNAL_SERVER_ERROR, "token", &why),
        };
        let url = |key: &&str| ((*key).to_owned(), self.url(key, &access_token, &query).into());
        let urls: Map<String, Value> = keys.iter().map(url).collect();
        let target = json!({"machine": machine, "hostname": self.address.ip().to_string(), "urls": urls});
        let body = json!({"access_token": access_token, "target": target, "results": [target]});
        json_response(StatusCode::OK, &body)
    }

    /// The URL of a key: its path on this sandbox, with the token and the request's other parameters.
    fn url(&self, key: &str, access_token: &str, query: &[(String, String)]) -> String {
        let (scheme, rest) = key.split_once("://").unwrap_or(("ws", key));
        let scheme = if scheme.starts_with("ws") { "ws" } else { "http" };
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let others = query.iter().filter(|(name, _)| name != "access_token");
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("access_token", access_token)
            .extend_pairs(others)
            .finish();
        format!("{scheme}://{}{path}?{query}", self.address)
    }
}

/// Whether a name parses as an M-Lab host (m-lab/go, `host/host.go`): `mlab1-lga0t.mlab-sandbox.…` (v2),
/// `mlab1.lga0t.…` (v1), or `ndt-lga3356-040e9f4b.mlab.sandbox.…` (v3), each below `measurement-lab.org`.
fn is_mlab_host(name: &str) -> bool {
    let Some(name) = name.strip_suffix(".measurement-lab.org") else { return false };
    let labels: Vec<&str> = name.split('.').collect();
    let site = |text: &str| {
        (5..=16).contains(&text.len())
            && text.as_bytes()[..3].iter().all(u8::is_ascii_lowercase)
            && text.bytes().skip(3).all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    let machine = |text: &str| matches!(text, "mlab1" | "mlab2" | "mlab3" | "mlab4");
    match labels.as_slice() {
        [host] | [host, _] if host.split_once('-').is_some_and(|(m, s)| machine(m) && site(s)) => true,
        [m, s] if machine(m) && site(s) => true,
        [host, _organization, _project] => {
            let parts: Vec<&str> = host.split('-').collect();
            matches!(parts.as_slice(), [service, s, id] if !service.is_empty() && site(s)
                && id.len() == 8 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_mlab_host;

    #[test]
    fn mlab_host_names_parse_and_others_do_not() {
        for name in [
            "mlab1-lga0t.mlab-sandbox.measurement-lab.org",
            "mlab4.lga0t.measurement-lab.org",
            "ndt-lga3356-040e9f4b.mlab.sandbox.measurement-lab.org",
        ] {
            assert!(is_mlab_host(name), "{name}");
        }
        for name in
            ["", "localhost", "mlab9-lga0t.mlab-sandbox.measurement-lab.org", "mlab1-lga0t.example.org"]
        {
            assert!(!is_mlab_host(name), "{name}");
        }
    }
}
