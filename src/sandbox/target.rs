//! A target server: accepts only an unexpired access token of this sandbox's Locate, as ndt-server with
//! `-ndt7.token.required` does. A WebSocket handshake (RFC 6455, 4.2) is answered, then closed.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use super::jwt::VerifyKeys;
use super::{Asked, Sandbox};

const PATHS: [&str; 5] =
    ["/ndt/v7/download", "/ndt/v7/upload", "/ndt_protocol", "/negotiate/dash", "/v0/envelope/access"];

/// Whether this is the path of a service.
pub fn is_target(path: &str) -> bool {
    PATHS.contains(&path)
}

/// Answers the client of a service.
pub fn answer(sandbox: &Sandbox, asked: &Asked) -> Response<Body> {
    let query = asked.query();
    let token = query.iter().find(|(name, _)| name == "access_token").map_or("", |(_, token)| token);
    let mut keys = VerifyKeys::default();
    let verified = keys.add(&sandbox.locate_signer.public_jwk).and_then(|()| {
        // The target is every machine at once; a token for one still names one.
        let machine = audience(token).ok_or("no token for a machine")?;
        keys.verify(token, "locate", &machine)
    });
    if let Err(why) = verified {
        tracing::info!(why, "rejected a client");
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match asked.headers.get("sec-websocket-key") {
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

fn audience(token: &str) -> Option<String> {
    jsonwebtoken::dangerous::insecure_decode_claims::<super::jwt::Claims>(token).ok()?.aud.into_iter().next()
}
