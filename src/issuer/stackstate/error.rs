//! Explains StackState's errors.

use serde_json::Value;

use crate::failure::Reason;
use crate::http::Answer;
use crate::issuer::refusal::{Dialect, Doing, Refusal};
use crate::issuer::status::{clock_clause, is_days_off};

pub(super) static DIALECT: Dialect = Dialect {
    name: "stackstate",
    owner: "StackState",
    advice: "check --url and --api-path, and that no proxy answers in its place",
    is_own,
    is_not_found: is_own,
    explain,
    reason,
};

fn is_own(answer: &Answer) -> bool {
    !words(answer).0.is_empty()
}

/// True if a gateway has written it, in front of StackState.
fn is_foreign(answer: &Answer) -> bool {
    !answer.body.is_empty() && !is_own(answer)
}

/// True if the credential is unknown, expired or deleted. A gateway may refuse one that is valid.
pub(super) fn is_invalid_token(answer: &Answer) -> bool {
    answer.status == 401 && is_own(answer)
}

/// The type and message of an error: `{"_type","message"}`, or several in an `ErrorsResponse`, which need not say that it
/// is one.
fn words(answer: &Answer) -> (String, String) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let kind = body["_type"].as_str().or(body["errors"][0]["_type"].as_str()).unwrap_or_default().to_owned();
    let one = |error: &Value| error["message"].as_str().map(str::to_owned);
    let messages: Vec<String> = match body["errors"].as_array() {
        Some(errors) => errors.iter().filter_map(one).collect(),
        None => one(&body).into_iter().collect(),
    };
    let mut text = messages.join("; ");
    if let Some(key) = body["trackingKey"].as_str() {
        text = format!("{text}, tracking key {key}");
    }
    (kind, text)
}

fn reason(refusal: &Refusal<'_>) -> Option<Reason> {
    let (kind, _) = words(refusal.answer);
    match (kind.as_str(), refusal.answer.status) {
        ("ServiceTokenInvalidExpiryError", _) => Some(Reason::InvalidExpiry),
        _ if is_foreign(refusal.answer) => None,
        (_, 401) => Some(Reason::CredentialRejected),
        (_, 403) => Some(Reason::CredentialForbidden),
        (kind, 404) if !kind.is_empty() => Some(Reason::TokenNotFound),
        _ => None,
    }
}

fn explain(refusal: &Refusal<'_>) -> String {
    let (kind, text) = words(refusal.answer);
    let (server, said) = (refusal.server(), refusal.said(&text));
    match (kind.as_str(), refusal.answer.status) {
        ("ServiceTokenInvalidExpiryError", _) => {
            let check = if is_days_off(refusal.answer) { "" } else { "; check --expiration" };
            format!("{server} rejected the expiry {said}{check}{}", clock_clause(refusal.answer))
        }
        (_, 401) if refusal.doing == Doing::Verify => refusal.usual(&said),
        (_, 401 | 403) if is_foreign(refusal.answer) => refusal.usual(&said),
        (_, 401) => format!(
            "{server} rejected the credential {said}: it is unknown or expired, or it is a service token where an API token is expected; use a new one"
        ),
        (_, 403) => format!(
            "{server} does not allow this credential to {} {said}; its roles do not permit it",
            refusal.what()
        ),
        (kind, 404) if !kind.is_empty() => format!("{server} has no such token {said}"),
        // If the clock is days behind, the expiry is in the past for the server, whatever the message says.
        (_, 400..500) if refusal.doing == Doing::Create && is_days_off(refusal.answer) => {
            format!("{}{}", refusal.usual(&said), clock_clause(refusal.answer))
        }
        _ => refusal.usual(&said),
    }
}
