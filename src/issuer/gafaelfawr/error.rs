//! Explains Gafaelfawr's errors. The `type` decides, not the status: a 403 may be a malformed header.

use serde_json::Value;

use crate::failure::Reason;
use crate::http::Answer;
use crate::issuer::refusal::{Dialect, Doing, Refusal};
use crate::issuer::status::clock_clause;

pub(super) static DIALECT: Dialect = Dialect {
    name: "gafaelfawr",
    owner: "Gafaelfawr",
    advice: "check that --url is the base URL of the environment, and that no proxy answers in its place",
    is_own,
    is_not_found,
    explain,
    reason,
};

struct Entry {
    kind: String,
    /// The message, with the name of the field.
    text: String,
}

impl Entry {
    fn read(entry: &Value) -> Option<Entry> {
        let entry = entry.as_object()?;
        let word = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let parts = entry.get("loc").and_then(Value::as_array).into_iter().flatten();
        let parts = parts.map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned));
        let field = parts.collect::<Vec<_>>().join(".");
        let about = if field.is_empty() { field } else { field + ": " };
        Some(Entry { kind: word("type"), text: about + &word("msg") })
    }
}

/// `detail` is a list, an object or a string.
fn entries(answer: &Answer) -> Vec<Entry> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match &body["detail"] {
        Value::Array(many) => many.iter().filter_map(Entry::read).collect(),
        Value::String(text) => vec![Entry { kind: String::new(), text: text.clone() }],
        one => Entry::read(one).into_iter().collect(),
    }
}

/// FastAPI returns its own 404 for unknown paths.
fn is_not_found(answer: &Answer) -> bool {
    entries(answer).iter().any(|entry| entry.kind == "not_found")
}

/// True if the credential is unknown, expired or deleted.
pub(super) fn is_invalid_token(answer: &Answer) -> bool {
    answer.status == 401 && entries(answer).iter().any(|entry| entry.kind == "invalid_token")
}

/// True also if a token still works, but is missing in the database, which may have been restored: it can be neither
/// listed nor deleted.
pub(super) fn is_lost_token(answer: &Answer) -> bool {
    matches!(answer.status, 401 | 403) && entries(answer).iter().any(|entry| entry.kind == "invalid_token")
}

fn is_own(answer: &Answer) -> bool {
    !entries(answer).is_empty()
}

fn reason(refusal: &Refusal<'_>) -> Option<Reason> {
    match entries(refusal.answer).first()?.kind.as_str() {
        "invalid_token" if refusal.doing == Doing::Verify => Some(Reason::TokenFileRefused),
        "invalid_token" | "no_authorization" | "invalid_request" => Some(Reason::CredentialRejected),
        "permission_denied" => Some(Reason::CredentialForbidden),
        "invalid_expires" => Some(Reason::InvalidExpiry),
        "invalid_scopes" => Some(Reason::UnknownScope),
        "not_found" => Some(Reason::TokenNotFound),
        _ => None,
    }
}

fn explain(refusal: &Refusal<'_>) -> String {
    let entries = entries(refusal.answer);
    let kind = entries.first().map(|entry| entry.kind.as_str()).unwrap_or_default();
    let texts = entries.iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>().join("; ");
    let (server, said) = (refusal.server(), refusal.said(&texts));
    match kind {
        "invalid_token" if refusal.doing == Doing::Verify => format!(
            "holds a token that {server} does not accept {said}: its database does not have it; rotate left it unchanged; move it away"
        ),
        "invalid_token" => {
            let causes = match refusal.doing {
                _ if refusal.answer.status == 403 => "its database does not have it",
                Doing::Create => "it is unknown or expired",
                _ if refusal.accepted_before => "it has expired or was deleted",
                _ => "it is unknown or expired, or it is the bootstrap token, which can only create tokens",
            };
            format!("{server} rejected the admin token {said}: {causes}; use a new one")
        }
        "no_authorization" => {
            format!(
                "{server} received no token {said}; check whether a proxy removes the Authorization header"
            )
        }
        "invalid_request" => {
            format!("{server} cannot read the Authorization header {said}; check that the token is complete")
        }
        "permission_denied" => format!(
            "{server} does not allow this credential to {} {said}; the admin token needs the scope admin:token",
            refusal.what()
        ),
        "invalid_expires" => {
            format!("{server} rejected the expiry {said}{}", clock_clause(refusal.answer))
        }
        "invalid_scopes" => format!("{server} does not know one of the scopes {said}; check --scopes"),
        "not_found" => format!("{server} has no such token {said}"),
        _ => refusal.usual(&said),
    }
}
