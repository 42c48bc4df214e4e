//! The meaning of HTTP statuses that are not a success: one table for all services.

use crate::failure::Reason;
use crate::http::explain::Status;

/// The advice for a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Check the service's URL, and the proxies in between.
    CheckUrl,
    Do(&'static str),
}

/// The meaning of a status.
#[derive(Debug)]
pub(super) struct Meaning {
    statuses: std::ops::RangeInclusive<u16>,
    /// The action of the server, after its name.
    pub summary: &'static str,
    pub advice: Advice,
}

const fn row(from: u16, to: u16, summary: &'static str, advice: Advice) -> Meaning {
    Meaning { statuses: from..=to, summary, advice }
}

/// The first row with a status applies.
static TABLE: [Meaning; 9] = [
    row(300, 399, "returned an unexpected status", Advice::CheckUrl),
    row(
        403,
        403,
        "does not allow this request",
        Advice::Do("check the URL, and that this address is allowed there"),
    ),
    row(404, 404, "was not found", Advice::CheckUrl),
    row(405, 405, "does not allow this method", Advice::CheckUrl),
    row(
        408,
        408,
        "timed out waiting for the request",
        Advice::Do("check the network and any proxy in between"),
    ),
    row(429, 429, "is rate limiting requests", Advice::Do("probe less often, or spread the probes")),
    row(
        511,
        511,
        "is behind a captive portal, which requires a login to this network",
        Advice::Do("sign in to the network, or use another one"),
    ),
    row(500, u16::MAX, "returned a server error", Advice::Do("retry later, or report it to its operators")),
    row(0, u16::MAX, "refused the request", Advice::CheckUrl),
];

/// True if a client that follows redirects would follow this one. The others, such as 300 and 304, do not answer any
/// request that this program makes.
pub(super) fn is_redirect(status: u16) -> bool {
    matches!(status, 301..=303 | 307 | 308)
}

pub(super) fn meaning(status: u16) -> &'static Meaning {
    TABLE.iter().find(|row| row.statuses.contains(&status)).unwrap_or(&TABLE[TABLE.len() - 1])
}

/// The reason, for programs, of a request that failed with this status.
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
        format!("HTTP {}", Status(status))
    }
}
