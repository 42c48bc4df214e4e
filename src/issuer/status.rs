//! The meaning of HTTP statuses that are not a success, one table for all services; and of the clock of a response.

use std::time::Duration;

use crate::failure::Reason;
use crate::go::duration;
use crate::http::explain::named_status;
use crate::http::{self, Answer};

/// The action of the server, after its name, and the advice: by default `check_url`, for the service's URL and the proxies
/// on the path.
pub(super) fn meaning(status: u16, check_url: &str) -> (&'static str, &str) {
    match status {
        300..=399 => ("returned an unexpected status", check_url),
        403 => ("does not allow this request", "check the URL, and that this address is allowed there"),
        404 => ("was not found", check_url),
        405 => ("does not allow this method", check_url),
        408 => ("timed out waiting for the request", "check the network and any proxy on the path"),
        429 => ("is rate limiting requests", "probe less often, or spread the probes"),
        511 => (
            "is behind a captive portal, which requires a login to this network",
            "sign in to the network, or use another one",
        ),
        500.. => ("returned a server error", "retry later, or report it to its operators"),
        _ => ("refused the request", check_url),
    }
}

/// True if a client that follows redirects would follow this one. The others, such as 300 and 304, do not answer any
/// request that this program makes.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301..=303 | 307 | 308)
}

pub(super) fn reason(status: u16) -> Reason {
    match status {
        401 => Reason::CredentialRejected,
        403 => Reason::Forbidden,
        404 | 405 => Reason::NotFound,
        407 => Reason::ProxyAuthentication,
        408 => Reason::ConnectionBroken,
        429 => Reason::RateLimited,
        400..500 => Reason::RequestRefused,
        // 511 is the login page of a network.
        ..400 | 511 => Reason::UnexpectedResponse,
        500.. => Reason::ServerError,
    }
}

/// A status as messages show it. Unusual ones are named, and server errors, which are looked for in the server's logs.
pub(super) fn label(status: u16) -> String {
    if (400..500).contains(&status) || status < 300 || is_redirect(status) {
        format!("HTTP {status}")
    } else {
        named_status(status)
    }
}

/// A smaller difference may be caused by a slow response: `Date` has whole seconds.
const NOTABLE_OFFSET_SECONDS: i64 = 2;

/// A clause with the difference between the local and the server's clock; empty if it is too small to mention.
pub(super) fn clock_clause(answer: &Answer) -> String {
    match answer.clock_offset_seconds {
        Some(offset) if offset.abs() >= NOTABLE_OFFSET_SECONDS => {
            let by = duration::show(Duration::from_secs(offset.unsigned_abs()));
            let side = if offset < 0 { "behind" } else { "ahead of" };
            let remedy = if is_days_off(answer) { ": correct it" } else { "" };
            format!("; the local clock is {by} {side} the server{remedy}")
        }
        _ => String::new(),
    }
}

/// True if one of the clocks must be wrong: the server's clock was then not used for the expiry of a token.
pub(super) fn is_days_off(answer: &Answer) -> bool {
    answer.clock_offset_seconds.is_some_and(|offset| !http::is_usable(offset))
}

/// How far the local clock is behind the server's, if it is.
pub(super) fn clock_lag(answer: &Answer) -> Option<Duration> {
    let offset = answer.clock_offset_seconds.filter(|offset| *offset < 0)?;
    Some(Duration::from_secs(offset.unsigned_abs()))
}
