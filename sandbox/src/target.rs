//! A target server: accepts only an unexpired access token of this sandbox's Locate, as ndt-server with
//! `-ndt7.token.required` does. It accepts a WebSocket handshake (RFC 6455, 4.2), then closes the connection.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::Value;

use crate::go;
use crate::http::Request;
use crate::jwt::{STRICT, VerifyKeys};

const PATHS: [&str; 5] =
    ["/ndt/v7/download", "/ndt/v7/upload", "/ndt_protocol", "/negotiate/dash", "/v0/envelope/access"];

/// True for the path of a service.
pub(crate) fn is_path(path: &str) -> bool {
    PATHS.contains(&path)
}

pub(crate) struct Target(VerifyKeys);

impl Target {
    /// A target that accepts tokens signed with this key of Locate.
    pub(crate) fn new(locate_key: &Value) -> Result<Target, String> {
        let mut keys = VerifyKeys::default();
        keys.add(locate_key)?;
        Ok(Target(keys))
    }

    pub(crate) fn respond(&self, request: &Request) -> Response<Body> {
        let token =
            go::first_value(&go::parse_query(request.uri.query().unwrap_or_default()), "access_token");
        // The target stands for every machine, but a token is valid for one.
        let verified =
            self.0.verify(&token, "locate", STRICT).and_then(|token| match token.audience.first() {
                Some(_) => Ok(()),
                None => Err("the token names no machine".to_owned()),
            });
        if let Err(why) = verified {
            crate::log::rejected("a client", &why);
            return StatusCode::UNAUTHORIZED.into_response();
        }
        match request.headers.get("sec-websocket-key") {
            None => (StatusCode::OK, "the token is accepted\n").into_response(),
            Some(key) => {
                const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
                let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), GUID].concat());
                let headers = [
                    ("connection", "Upgrade".to_owned()),
                    ("upgrade", "websocket".to_owned()),
                    ("sec-websocket-accept", STANDARD.encode(accept)),
                ];
                (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
            }
        }
    }
}
