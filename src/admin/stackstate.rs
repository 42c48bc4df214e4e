//! `stackstate create|list|delete`: prints what `sts service-token` prints, on a pipe, too.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::output::{Format, SecretFile, json, table};
use super::{Administration, deliver, refuse_closed_stdout, wait};
use crate::date;
use crate::error::{Failure, Stage, printable};
use crate::exit::ExitStatus;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signal::Signals;
use crate::source::CreateError;
use crate::source::stackstate::{Created, Kind, NewToken, ServiceToken, StackState};

/// What to do.
pub enum Action {
    /// Make a token.
    Create {
        /// What it is.
        new: NewToken,
        /// Where it is written, if not to stdout.
        out: Option<PathBuf>,
    },
    /// List all tokens.
    List,
    /// Delete a token.
    Delete {
        /// Its id.
        id: i64,
    },
}

/// Does it at the API below `api_path`; gives the text for stdout. `signals` are caught where a token is
/// made.
pub fn act(
    administration: Administration,
    api_path: &str,
    kind: Option<Kind>,
    action: Action,
    signals: Option<&Signals>,
) -> Result<String, Failure> {
    let Administration { url, format, timeout, http, credential } = administration;
    let deadline = Instant::now() + timeout;
    // Before the token is made, so that none is made in vain.
    let out = match &action {
        Action::Create { out: Some(path), .. } => Some(SecretFile::reserve(path.clone())?),
        Action::Create { out: None, .. } => {
            refuse_closed_stdout()?;
            None
        }
        _ => None,
    };
    let token: SecretString = credential.load(signals, deadline)?;
    let kind = kind.unwrap_or_else(|| Kind::of(&token));
    let stackstate = StackState::new(&http, url, api_path, kind, &token)?;
    let api = stackstate.api();
    match action {
        Action::Create { new, .. } => {
            let work =
                async { stackstate.create(&new, deadline).await.map_err(|error| unclear(error, &new)) };
            let made =
                wait(api, timeout, deadline, signals, work).map_err(|failure| match failure.status {
                    ExitStatus::Timeout | ExitStatus::Signal(_) if api.maybe_sent() => {
                        maybe_made(&failure, &new)
                    }
                    _ => failure,
                })?;
            let on_stdout = out.is_none();
            let text = created(&made, out, format)?;
            if !on_stdout {
                return Ok(text);
            }
            // Its answer has no id, and others may have its name, so that it is not deleted here.
            deliver(&text, || lost(&made.name))?;
            Ok(String::new())
        }
        Action::List => match format {
            Format::Json => {
                let tokens = wait(api, timeout, deadline, None, stackstate.list_raw(deadline))?;
                Ok(json(&json!({"service-tokens": tokens})))
            }
            Format::Text => {
                let tokens = wait(api, timeout, deadline, None, stackstate.list(deadline))?;
                Ok(if tokens.is_empty() {
                    "No service tokens found.\n".to_owned()
                } else {
                    table(&rows(&tokens), " | ")
                })
            }
        },
        Action::Delete { id } => {
            if !wait(api, timeout, deadline, None, stackstate.delete(id, deadline))? {
                return Err(Failure::ours(
                    Stage::Revoke,
                    format!("there is no service token {id}; see: monitoring-token stackstate list"),
                ));
            }
            Ok(match format {
                Format::Text => format!("✅ Service token deleted: {id}\n"),
                Format::Json => json(&json!({"deleted-service-token": id})),
            })
        }
    }
}

fn unclear(error: CreateError, new: &NewToken) -> Failure {
    match error.trace {
        Some(_) => maybe_made(&error.failure, new),
        None => error.failure,
    }
}

fn maybe_made(failure: &Failure, new: &NewToken) -> Failure {
    Failure {
        message: format!(
            "{failure}; the token {} may have been made, see: monitoring-token stackstate list",
            new.name
        ),
        ..failure.clone()
    }
}

fn lost(name: &str) -> String {
    format!(
        "the token {} is lost, delete it by the id that monitoring-token stackstate list shows",
        printable(name)
    )
}

/// The order of the fields is that of `sts`.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<i64>,
}

fn created(made: &Created, out: Option<SecretFile>, format: Format) -> Result<String, Failure> {
    let mut shown =
        Shown { name: &made.name, token: Some(made.token.expose_secret()), expiration: made.expiration };
    let place = match out {
        None => made.token.expose_secret().to_owned(),
        Some(mut file) => {
            file.fill(&made.token).map_err(|failure| Failure {
                message: format!("{failure}; {}", lost(&made.name)),
                ..failure
            })?;
            shown.token = None;
            file.path().display().to_string()
        }
    };
    Ok(match format {
        Format::Text => format!("✅ Service token created: {place}\n"),
        Format::Json => json(&json_object("service-token", &shown)),
    })
}

/// An object of one member, which keeps the order of that one's fields.
fn json_object<'a, T: Serialize>(name: &'a str, value: &'a T) -> std::collections::BTreeMap<&'a str, &'a T> {
    std::collections::BTreeMap::from([(name, value)])
}

fn rows(tokens: &[ServiceToken]) -> Vec<Vec<String>> {
    let head = ["ID", "NAME", "EXPIRATION", "ROLES"].map(str::to_owned).to_vec();
    let rows = tokens.iter().map(|token| {
        vec![
            token.id.map(|id| id.to_string()).unwrap_or_default(),
            token.name.clone(),
            token.expiration.map(date::day_of_millis).unwrap_or_default(),
            format!("[{}]", token.roles.join(" ")),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}
