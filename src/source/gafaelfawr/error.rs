//! What Gafaelfawr's errors mean. The `type` decides, not the status: a 403 may be a malformed header.

use serde::Deserialize;

use super::Api;
use crate::cli::duration;
use crate::error::{Failure, Stage, printable};
use crate::http::Answer;
use crate::http::explain::TransportError;
use crate::secret::redact_text;

/// How much of foreign text is shown.
const SHOWN_CHARS: usize = 160;
/// A clock that differs by less cannot be told from a slow answer: `Date` has whole seconds.
const NOTABLE_CLOCK_OFFSET_SECONDS: i64 = 2;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Asking what the admin token is.
    Check,
    /// Making a token.
    Create,
    /// Listing tokens.
    List,
    /// Deleting a token.
    Delete,
}

/// `detail` has three shapes: a list, an object, a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Detail {
    Many(Vec<Entry>),
    One(Entry),
    Text(String),
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    msg: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    loc: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct ErrorBody {
    detail: Detail,
}

impl Entry {
    /// The message, with the field that it is about.
    fn show(&self) -> String {
        let parts = self.loc.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
        let field = parts.collect::<Vec<_>>().join(".");
        if field.is_empty() { self.msg.clone() } else { format!("{field}: {}", self.msg) }
    }
}

fn entries(answer: &Answer) -> Vec<Entry> {
    match serde_json::from_slice::<ErrorBody>(&answer.body).map(|body| body.detail) {
        Ok(Detail::Many(many)) => many,
        Ok(Detail::One(one)) => vec![one],
        Ok(Detail::Text(msg)) => vec![Entry { msg, kind: String::new(), loc: Vec::new() }],
        Err(_) => Vec::new(),
    }
}

/// Whether this is Gafaelfawr's own 404, and not one of a server that does not know it.
pub fn is_not_found(answer: &Answer) -> bool {
    entries(answer).iter().any(|entry| entry.kind == "not_found")
}

/// Whether an error is Gafaelfawr's own, and not one of a proxy in between.
pub fn is_gafaelfawrs(answer: &Answer) -> bool {
    !entries(answer).is_empty()
}

fn failed(message: String) -> Failure {
    Failure::ours(Stage::Exchange, message)
}

/// The failure of a request without an answer.
pub fn unanswered(error: TransportError) -> Failure {
    failed(error.message)
}

/// Foreign text, shortened, on one line, without tokens.
fn shown(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = redact_text(&words).chars().take(SHOWN_CHARS).collect();
    printable(&short)
}

/// An answer with a good status, and not what Gafaelfawr answers.
pub fn no_gafaelfawr(api: &Api, answer: &Answer, doing: Doing) -> Failure {
    // The body of a creation may hold a token.
    let said = match doing {
        Doing::Create => String::new(),
        _ => format!(" (\"{}\")", shown(&String::from_utf8_lossy(&answer.body))),
    };
    failed(format!(
        "{} answered HTTP {} with something else than Gafaelfawr's JSON{said}; is --url right, or a proxy in between?",
        api.origin(),
        answer.status
    ))
}

/// What a refusal means, and what to do.
pub fn explain(api: &Api, answer: &Answer, doing: Doing) -> Failure {
    if (200..300).contains(&answer.status) {
        return no_gafaelfawr(api, answer, doing);
    }
    let (at, status) = (api.origin(), answer.status);
    let entries = entries(answer);
    let kind = entries.first().map(|entry| entry.kind.as_str()).unwrap_or_default();
    let said = match entries.as_slice() {
        [] if answer.body.is_empty() => format!("(HTTP {status})"),
        [] => format!("(HTTP {status}, \"{}\")", shown(&String::from_utf8_lossy(&answer.body))),
        entries => {
            let texts = entries.iter().map(Entry::show).collect::<Vec<_>>().join("; ");
            format!("(HTTP {status}, {})", shown(&texts))
        }
    };
    let what = match doing {
        Doing::Check => "tell what the admin token is",
        Doing::Create => "make a token",
        Doing::List => "list the tokens",
        Doing::Delete => "delete the token",
    };
    failed(match (kind, status) {
        ("invalid_token", _) if doing == Doing::Create => {
            format!("gafaelfawr at {at} does not know the admin token {said}: it is unknown or expired")
        }
        ("invalid_token", _) => format!(
            "gafaelfawr at {at} does not take the admin token {said}: it is unknown, expired, or the bootstrap token, which can make tokens and not delete them"
        ),
        ("no_authorization", _) => {
            format!("gafaelfawr at {at} saw no token {said}; does a proxy remove the Authorization header?")
        }
        ("invalid_request", _) => {
            format!("gafaelfawr at {at} cannot read the Authorization header {said}; is it the whole token?")
        }
        ("permission_denied", _) => {
            format!(
                "gafaelfawr at {at} forbids to {what} {said}; the admin token needs the scope admin:token"
            )
        }
        ("invalid_expires", _) => {
            format!("gafaelfawr at {at} does not take the expiry {said}{}", clock(answer))
        }
        ("invalid_scopes", _) => {
            format!("gafaelfawr at {at} does not know one of the scopes {said}; see --scopes")
        }
        ("not_found", _) => format!("gafaelfawr at {at} has no such token {said}"),
        (_, 300..=399) => {
            let to = answer.header("location").map_or_else(|| "elsewhere".to_owned(), shown);
            format!(
                "{at} redirects to {to}, and the token must not travel there; is --url the base URL, with its scheme?"
            )
        }
        (_, 404 | 405) => format!("{at} has no token API {said}; is --url the base URL of the environment?"),
        (_, 500..) if doing == Doing::Create => {
            format!("{at} has trouble of its own and may not have made a token {said}")
        }
        (_, 500..) => format!("{at} has trouble of its own and did not {what} {said}"),
        _ => format!("gafaelfawr at {at} refused to {what} {said}"),
    })
}

fn clock(answer: &Answer) -> String {
    match answer.clock_offset_seconds {
        Some(offset) if offset.abs() >= NOTABLE_CLOCK_OFFSET_SECONDS => {
            let by = duration::show(std::time::Duration::from_secs(offset.unsigned_abs()));
            format!("; local clock is {by} {} the server", if offset < 0 { "behind" } else { "ahead of" })
        }
        _ => String::new(),
    }
}
