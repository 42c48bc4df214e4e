//! Redirects: followed on the same origin only, because the token must not be sent elsewhere.

use reqwest::{Url, redirect};

use crate::secret::shown;

const MAX_REDIRECTS: usize = 3;
const MAX_ORIGIN_CHARS: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redirects {
    /// Up to three, on the same origin.
    SameOrigin,
    /// None: a redirect is a response like any other.
    No,
}

impl Redirects {
    pub fn policy(self) -> redirect::Policy {
        match self {
            Redirects::SameOrigin => redirect::Policy::custom(same_origin),
            Redirects::No => redirect::Policy::none(),
        }
    }
}

#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum RefusedRedirect {
    /// Its target is another origin (shown without query).
    #[error(
        "redirects to {0}, a different origin, and the token must not be sent there; if that origin is correct, put it into the URL"
    )]
    Elsewhere(String),
    /// It leads to something that no HTTP server is behind (shown without path and query).
    #[error("redirects to {0}, which is not an http:// or https:// URL; check the URL")]
    NotHttp(String),
    #[error("redirected more than {} times; check the URL with curl -iL", MAX_REDIRECTS)]
    TooMany,
}

fn same_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let (first, url) = (attempt.previous().first().map(Url::origin), attempt.url());
    if !matches!(url.scheme(), "http" | "https") {
        let host = url.host_str().map(|host| format!("//{host}/")).unwrap_or_default();
        let to = shown(&format!("{}:{host}…", url.scheme()), MAX_ORIGIN_CHARS);
        return attempt.error(RefusedRedirect::NotHttp(to));
    }
    if first != Some(url.origin()) {
        let origin = shown(&url.origin().ascii_serialization(), MAX_ORIGIN_CHARS);
        attempt.error(RefusedRedirect::Elsewhere(origin))
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(RefusedRedirect::TooMany)
    } else {
        attempt.follow()
    }
}
