//! `gafaelfawr create|list|delete`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::output::{Format, SecretFile, json, table};
use super::{Administration, deliver, refuse_closed_stdout, wait};
use crate::date;
use crate::error::{Failure, Stage};
use crate::exit::ExitStatus;
use crate::secret::{ExposeSecret as _, SecretString};
use crate::signal::Signals;
use crate::source::CreateError;
use crate::source::gafaelfawr::{
    Gafaelfawr, MAX_EXPIRES, MIN_LIFETIME, NewToken, TokenInfo, key_of, unix_now,
};

/// On top of the shortest lifetime: the server counts from when it gets the request.
const LIFETIME_MARGIN: Duration = Duration::from_secs(10);

/// What to do.
pub enum Action {
    /// Make a token.
    Create {
        /// What it is.
        new: NewToken,
        /// How long it lives; `None` is for ever.
        lifetime: Option<Duration>,
        /// Where it is written, if not to stdout.
        out: Option<PathBuf>,
    },
    /// List the tokens of a user.
    List {
        /// The user.
        username: String,
    },
    /// Delete a token.
    Delete {
        /// Its user.
        username: String,
        /// Its key.
        key: String,
    },
}

/// Does it; gives the text for stdout. `signals` are caught where a token is made.
pub fn act(
    administration: Administration,
    action: Action,
    signals: Option<&Signals>,
) -> Result<String, Failure> {
    let Administration { url, format, timeout, http, credential } = administration;
    let deadline = Instant::now() + timeout;
    // Before the token is made, so that none is made in vain.
    let (action, out) = match action {
        Action::Create { new, lifetime, out } => {
            if out.is_none() {
                refuse_closed_stdout()?;
            }
            let file = out.map(SecretFile::reserve).transpose()?;
            (Action::Create { new, lifetime, out: None }, file)
        }
        action => (action, None),
    };
    let admin_token = credential.load(signals, deadline)?;
    let gafaelfawr = Gafaelfawr::new(&http, url, &admin_token)?;
    let api = gafaelfawr.api();
    match action {
        Action::Create { new, lifetime, .. } => {
            let expires = lifetime.map(|lifetime| {
                let lifetime = lifetime.max(MIN_LIFETIME + LIFETIME_MARGIN).as_secs();
                unix_now().saturating_add(lifetime).min(MAX_EXPIRES)
            });
            let work = async {
                gafaelfawr.create(&new, expires, deadline).await.map_err(|error| unclear(error, &new))
            };
            let token =
                wait(api, timeout, deadline, signals, work).map_err(|failure| match failure.status {
                    ExitStatus::Timeout | ExitStatus::Signal(_) if api.maybe_sent() => {
                        maybe_made(&failure, &new)
                    }
                    _ => failure,
                })?;
            let on_stdout = out.is_none();
            let text = created(&token, &new, expires, out, format)?;
            if !on_stdout {
                return Ok(text);
            }
            deliver(&text, || {
                let key = key_of(&token).unwrap_or_default();
                let deadline = Instant::now() + timeout;
                let work = gafaelfawr.delete(&new.username, key, deadline);
                match wait(api, timeout, deadline, signals, work) {
                    Ok(_) => format!("the token {key} is deleted again; see --out"),
                    Err(failure) => format!("{}; {failure}", lost(&new.username, key)),
                }
            })?;
            Ok(String::new())
        }
        Action::List { username } => {
            let tokens = wait(api, timeout, deadline, None, gafaelfawr.list(&username, deadline))?;
            Ok(match format {
                Format::Json => json(&tokens),
                Format::Text if tokens.is_empty() => format!("no tokens of {username}\n"),
                Format::Text => table(&rows(&tokens, unix_now()), "  "),
            })
        }
        Action::Delete { username, key } => {
            if !wait(api, timeout, deadline, None, gafaelfawr.delete(&username, &key, deadline))? {
                return Err(Failure::ours(
                    Stage::Revoke,
                    format!(
                        "{username} has no token {key}; see: monitoring-token gafaelfawr list --username {username}"
                    ),
                ));
            }
            Ok(match format {
                Format::Json => json(&json!({"deleted": key, "username": username})),
                Format::Text => format!("deleted {key} of {username}\n"),
            })
        }
    }
}

/// After an error that leaves it open whether there is a token.
fn unclear(error: CreateError, new: &NewToken) -> Failure {
    match error.trace {
        Some(_) => maybe_made(&error.failure, new),
        None => error.failure,
    }
}

fn maybe_made(failure: &Failure, new: &NewToken) -> Failure {
    let username = &new.username;
    Failure {
        message: format!(
            "{failure}; a token may have been made, see: monitoring-token gafaelfawr list --username {username}"
        ),
        ..failure.clone()
    }
}

fn lost(username: &str, key: &str) -> String {
    format!("the token is lost, delete it: monitoring-token gafaelfawr delete --username {username} -- {key}")
}

/// The token, alone on stdout, or in its file.
fn created(
    token: &SecretString,
    new: &NewToken,
    expires: Option<u64>,
    out: Option<SecretFile>,
    format: Format,
) -> Result<String, Failure> {
    let key = key_of(token).unwrap_or_default();
    let username = &new.username;
    let Some(mut file) = out else {
        let token = token.expose_secret();
        return Ok(match format {
            Format::Text => format!("{token}\n"),
            Format::Json => json(&json!({
                "token": token, "key": key, "username": username, "scopes": new.scopes, "expires": expires
            })),
        });
    };
    file.fill(token)
        .map_err(|failure| Failure { message: format!("{failure}; {}", lost(username, key)), ..failure })?;
    let path = file.path().display();
    Ok(match format {
        Format::Text => {
            let expires = expires.map_or_else(|| "never".to_owned(), date::time);
            format!("token {key} of {username} is in {path}; expires: {expires}\n")
        }
        Format::Json => json(&json!({
            "out": path.to_string(), "key": key, "username": username, "scopes": new.scopes, "expires": expires
        })),
    })
}

fn rows(tokens: &[TokenInfo], now: u64) -> Vec<Vec<String>> {
    let head = ["KEY", "TYPE", "SCOPES", "CREATED", "EXPIRES"].map(str::to_owned).to_vec();
    let rows = tokens.iter().map(|token| {
        let expires = match token.expires {
            None => "never".to_owned(),
            Some(expires) if expires <= now => format!("{} (expired)", date::time(expires)),
            Some(expires) => date::time(expires),
        };
        let kind = match &token.token_name {
            Some(name) => format!("{} ({name})", token.token_type),
            None => token.token_type.clone(),
        };
        let created = token.created.map(date::time).unwrap_or_default();
        vec![token.token.clone(), kind, token.scopes.join(","), created, expires]
    });
    std::iter::once(head).chain(rows).collect()
}
