//! What Gafaelfawr's errors mean. The `type` decides, not the status: a 403 may be a malformed header.

use serde::Deserialize;

use crate::cli::duration;
use crate::http::Answer;
use crate::source::refusal::{Doing, Refusal, Service};

/// Gafaelfawr's part of what is said of an answer.
pub static SERVICE: Service = Service {
    name: "gafaelfawr",
    owner: "Gafaelfawr",
    advice: "is --url the base URL of the environment, or a proxy in between?",
    is_own,
    is_not_found,
    explain,
};

/// A clock that differs by less cannot be told from a slow answer: `Date` has whole seconds.
const NOTABLE_CLOCK_OFFSET_SECONDS: i64 = 2;

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

/// FastAPI has a 404 of its own, for paths that it does not know.
fn is_not_found(answer: &Answer) -> bool {
    entries(answer).iter().any(|entry| entry.kind == "not_found")
}

fn is_own(answer: &Answer) -> bool {
    !entries(answer).is_empty()
}

fn explain(refusal: &Refusal<'_>) -> String {
    let entries = entries(refusal.answer);
    let kind = entries.first().map(|entry| entry.kind.as_str()).unwrap_or_default();
    let texts = entries.iter().map(Entry::show).collect::<Vec<_>>().join("; ");
    let (server, said) = (refusal.server(), refusal.said(&texts));
    match kind {
        "invalid_token" if refusal.doing == Doing::Create => {
            format!("{server} does not know the admin token {said}: it is unknown or expired")
        }
        "invalid_token" => format!(
            "{server} does not take the admin token {said}: it is unknown, expired, or the bootstrap token, which can make tokens and not delete them"
        ),
        "no_authorization" => {
            format!("{server} saw no token {said}; does a proxy remove the Authorization header?")
        }
        "invalid_request" => {
            format!("{server} cannot read the Authorization header {said}; is it the whole token?")
        }
        "permission_denied" => format!(
            "{server} forbids to {} {said}; the admin token needs the scope admin:token",
            refusal.what()
        ),
        "invalid_expires" => {
            format!("{server} does not take the expiry {said}{}", clock(refusal.answer))
        }
        "invalid_scopes" => format!("{server} does not know one of the scopes {said}; see --scopes"),
        "not_found" => format!("{server} has no such token {said}"),
        _ => refusal.usual(&said),
    }
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
