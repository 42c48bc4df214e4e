//! The parts of the HTTP library that are replaced or wrapped, beside the resolver and the verifier: its policy for
//! redirects, and its connector.

use std::sync::Arc;

use reqwest::{Url, redirect};

use super::attempt::{Phase, Progress};
use crate::secret::shown;
use crate::sys::descriptors::bound_receive_buffers;

const MAX_REDIRECTS: usize = 3;
const MAX_ORIGIN_CHARS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Up to three, on the same origin: the token must not be sent elsewhere.
    SameOrigin,
    /// None: a redirect is a response like any other.
    No,
}

impl Redirects {
    pub(super) fn policy(self) -> redirect::Policy {
        match self {
            Redirects::SameOrigin => redirect::Policy::custom(same_origin),
            Redirects::No => redirect::Policy::none(),
        }
    }
}

/// A clause that begins with a verb.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct RefusedRedirect(String);

fn same_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let (first, url) = (attempt.previous().first().map(Url::origin), attempt.url());
    let refused = if !matches!(url.scheme(), "http" | "https") {
        let host = url.host_str().map(|host| format!("//{host}/")).unwrap_or_default();
        let to = shown(&format!("{}:{host}…", url.scheme()), MAX_ORIGIN_CHARS);
        format!("redirects to {to}, which is not an http:// or https:// URL; check the URL")
    } else if first != Some(url.origin()) {
        let to = shown(&url.origin().ascii_serialization(), MAX_ORIGIN_CHARS);
        format!(
            "redirects to {to}, a different origin, and the token must not be sent there; if that origin is correct, put it into the URL"
        )
    } else if attempt.previous().len() > MAX_REDIRECTS {
        format!("redirected more than {MAX_REDIRECTS} times; check the URL with curl -iL")
    } else {
        return attempt.follow();
    };
    attempt.error(RefusedRedirect(refused))
}

/// The most that a socket holds before it is read. The HTTP library empties the socket up to 128 times before the
/// deadline and signals are looked at, so with a larger buffer a flood of informational responses would delay them by a
/// second. A TLS record has up to 16 KiB.
const RECEIVE_BUFFER_BYTES: usize = 32 * 1024;

/// Wraps the work of the connector: notes when it begins, and when the connection is established (including TLS), so
/// that the request follows.
pub(super) async fn watched<C, E>(
    connecting: impl Future<Output = Result<C, E>>,
    progress: Arc<Progress>,
) -> Result<C, E> {
    progress.begin(Phase::Connect, Vec::new());
    let connection = connecting.await?;
    progress.connected(Phase::Answer);
    if !progress.has_tls() {
        bound_receive_buffers(RECEIVE_BUFFER_BYTES);
    }
    Ok(connection)
}
