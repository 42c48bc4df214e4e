//! `gafaelfawr create|list|delete`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::output::{Format, LastColumn, json, json_list, table};
use super::{Administration, Place, Session, deliver};
use crate::date::{self, unix_now};
use crate::failure::{Failure, Reason, Stage};
use crate::issuer::api::Access;
use crate::issuer::gafaelfawr::{Gafaelfawr, MAX_EXPIRES, MIN_LIFETIME, NewToken, TokenInfo, token_key_of};
use crate::secret::ExposeSecret as _;
use crate::sys::signal::Signals;

/// Added to the shortest lifetime, because the server counts from the moment it gets the request.
pub(super) const LIFETIME_MARGIN: Duration = Duration::from_secs(10);

pub(crate) enum Action {
    Create {
        new: NewToken,
        /// `None`: it never expires.
        lifetime: Option<Duration>,
        /// The file to write the token to; `None` is stdout.
        out: Option<PathBuf>,
    },
    List {
        username: String,
    },
    Delete {
        username: String,
        key: String,
    },
}

/// Performs the action. Returns the text for stdout, or an empty one if a token was already delivered there.
pub(crate) fn act(
    administration: Administration,
    action: Action,
    signals: &Signals,
) -> Result<String, Failure> {
    let Administration { url, format, timeout, http, credential } = administration;
    let session = Session::begin(timeout, signals);
    let gafaelfawr = || {
        let (http, credential) = session.read(http, credential)?;
        Gafaelfawr::new(Access { http: &http, url, credential: &credential })
    };
    match action {
        Action::Create { new, lifetime, out } => {
            let place = Place::reserve(out)?;
            create(&gafaelfawr()?, session, &new, lifetime, place, format)
        }
        Action::List { username } => {
            let gafaelfawr = gafaelfawr()?;
            let tokens = session.wait(gafaelfawr.api(), gafaelfawr.list(&username, session.deadline))?;
            Ok(match format {
                Format::Json => json_list(&tokens),
                Format::Text if tokens.is_empty() => format!("no tokens of {username}\n"),
                Format::Text => table(&rows(&tokens, unix_now()), "  ", LastColumn::Trimmed),
            })
        }
        Action::Delete { username, key } => {
            let gafaelfawr = gafaelfawr()?;
            let work = gafaelfawr.delete(&username, &key, session.deadline);
            let see = format!("see: monitoring-token gafaelfawr list --username {username}");
            if !session.change(gafaelfawr.api(), work, &format!("{key} may be deleted, {see}"))? {
                let message = format!("{username} has no token {key}; {see}");
                return Err(Failure::failed(Stage::Exchange, Reason::TokenNotFound, message));
            }
            Ok(match format {
                Format::Json => json(&json!({"deleted": key, "username": username})),
                Format::Text => format!("deleted {key} of {username}\n"),
            })
        }
    }
}

fn create(
    gafaelfawr: &Gafaelfawr,
    session: Session<'_>,
    new: &NewToken,
    lifetime: Option<Duration>,
    place: Place,
    format: Format,
) -> Result<String, Failure> {
    let username = &new.username;
    let expires = match lifetime {
        None => None,
        Some(lifetime) => {
            // By the server's clock.
            let clock = gafaelfawr.clock_offset_seconds(session.deadline);
            let server_now = unix_now().saturating_add_signed(-session.wait(gafaelfawr.api(), clock)?);
            let lifetime = lifetime.max(MIN_LIFETIME + LIFETIME_MARGIN).as_secs();
            Some(server_now.saturating_add(lifetime).min(MAX_EXPIRES))
        }
    };
    let open =
        format!("a token may have been created, see: monitoring-token gafaelfawr list --username {username}");
    let work = gafaelfawr.create(new, expires, session.deadline);
    let token = session.make(gafaelfawr.api(), work, &open)?;
    let key = token_key_of(&token).unwrap_or_default();
    let shown = |member: &str, value: &str| {
        json(&json!({
            member: value, "key": key, "username": username, "scopes": new.scopes, "expires": expires
        }))
    };
    match place {
        Place::File(mut file) => {
            file.fill(&token).map_err(|failure| failure.and(&lost(username, key)))?;
            let path = file.path().display().to_string();
            let expiry = expires.map_or_else(|| "never".to_owned(), date::time);
            Ok(match format {
                Format::Text => format!("token {key} of {username} is in {path}; expires: {expiry}\n"),
                Format::Json => shown("out", &path),
            })
        }
        Place::Stdout => {
            let text = match format {
                Format::Text => format!("{}\n", token.expose_secret()),
                Format::Json => shown("token", token.expose_secret()),
            };
            deliver(&text, || {
                let session = Session::begin(session.timeout, session.signals);
                let work = gafaelfawr.delete(username, key, session.deadline);
                match session.wait(gafaelfawr.api(), work) {
                    Ok(_) => format!("the token {key} is deleted again; check --out"),
                    Err(failure) => format!("{}; {failure}", lost(username, key)),
                }
            })?;
            Ok(String::new())
        }
    }
}

fn lost(username: &str, key: &str) -> String {
    format!("the token is lost, delete it: monitoring-token gafaelfawr delete --username {username} -- {key}")
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
