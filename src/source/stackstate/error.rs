//! What StackState's errors mean, and those of the ingress in front of it.

use serde_json::Value;

use super::Api;
use crate::error::{Failure, Stage, printable};
use crate::http::Answer;
use crate::http::explain::TransportError;
use crate::secret::redact_text;

const SHOWN_CHARS: usize = 160;

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Making a token.
    Create,
    /// Listing tokens.
    List,
    /// Deleting a token.
    Delete,
}

fn failed(message: String) -> Failure {
    Failure::ours(Stage::Exchange, message)
}

/// The failure of a request without an answer.
pub fn unanswered(error: TransportError) -> Failure {
    failed(error.message)
}

fn shown(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = redact_text(&words).chars().take(SHOWN_CHARS).collect();
    printable(&short)
}

/// Whether an error is StackState's own, and not the ingress's.
pub fn is_stackstates(answer: &Answer) -> bool {
    serde_json::from_slice::<Value>(&answer.body).is_ok_and(|body| body["_type"].is_string())
}

/// The kind of an error and its words: `{"_type","message"}`, or several in an `ErrorsResponse`.
fn words(answer: &Answer) -> Option<(String, String)> {
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let kind = body["_type"].as_str().unwrap_or_default().to_owned();
    let one = |error: &Value| error["message"].as_str().map(str::to_owned);
    let messages: Vec<String> = match body["errors"].as_array() {
        Some(errors) => errors.iter().filter_map(one).collect(),
        None => one(&body).into_iter().collect(),
    };
    let mut text = messages.join("; ");
    if let Some(key) = body["trackingKey"].as_str() {
        text = format!("{text}, tracking key {key}");
    }
    Some((kind, text))
}

/// An answer with a good status, and not what StackState answers.
pub fn no_stackstate(api: &Api, answer: &Answer, doing: Doing) -> Failure {
    // The body of a creation may hold a token.
    let said = match doing {
        Doing::Create => String::new(),
        _ => format!(" (\"{}\")", shown(&String::from_utf8_lossy(&answer.body))),
    };
    failed(format!(
        "{} answered HTTP {} with something else than StackState's JSON{said}; are --url and --api-path right?",
        api.origin(),
        answer.status
    ))
}

/// What a refusal means, and what to do.
pub fn explain(api: &Api, answer: &Answer, doing: Doing) -> Failure {
    if (200..300).contains(&answer.status) {
        return no_stackstate(api, answer, doing);
    }
    let (at, status) = (api.origin(), answer.status);
    let found = words(answer);
    let said = match &found {
        Some((_, text)) if !text.is_empty() => format!("(HTTP {status}, {})", shown(text)),
        _ if answer.body.is_empty() => format!("(HTTP {status})"),
        _ => format!("(HTTP {status}, \"{}\")", shown(&String::from_utf8_lossy(&answer.body))),
    };
    let kind = found.as_ref().map(|(kind, _)| kind.as_str()).unwrap_or_default();
    let what = match doing {
        Doing::Create => "make a token",
        Doing::List => "list the tokens",
        Doing::Delete => "delete the token",
    };
    failed(match (kind, status) {
        ("ServiceTokenInvalidExpiryError", _) => {
            format!("stackstate at {at} does not take the expiry {said}; see --expiration")
        }
        (_, 401) => format!(
            "stackstate at {at} does not take the credential {said}: it is unknown or expired, or a service token stands where an API token is expected"
        ),
        (_, 403) => {
            format!("stackstate at {at} forbids to {what} {said}; the credential's role does not allow it")
        }
        (_, 300..=399) => {
            let to = answer.header("location").map_or_else(|| "elsewhere".to_owned(), shown);
            format!(
                "{at} redirects to {to}, and the token must not travel there; is --url right, with its scheme?"
            )
        }
        ("", 404) => format!("{at} has no token API {said}; are --url and --api-path right?"),
        (_, 404) => format!("stackstate at {at} has no such token {said}"),
        (_, 500..) if doing == Doing::Create => {
            format!("{at} has trouble of its own and may not have made a token {said}")
        }
        (_, 500..) => format!("stackstate at {at} has trouble of its own and did not {what} {said}"),
        _ => format!("stackstate at {at} refused to {what} {said}"),
    })
}
