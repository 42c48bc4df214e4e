//! `stackstate create|list|delete`: prints what `sts service-token` prints, also into a pipe.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use super::output::{Format, LastColumn, json, json_list, table};
use super::{Administration, Place, Session, deliver};
use crate::date;
use crate::failure::{Failure, Reason, Stage, printable};
use crate::issuer::api::Access;
use crate::issuer::stackstate::{Created, CredentialKind, NewToken, ServiceToken, StackState};
use crate::secret::{ExposeSecret as _, scrub};
use crate::sys::signal::Signals;

pub(crate) enum Action {
    Create {
        new: NewToken,
        /// The file to write the token to; `None` is stdout.
        out: Option<PathBuf>,
    },
    List,
    Delete(Which),
}

pub(crate) enum Which {
    Id(i64),
    /// Must match exactly one token.
    Named(String),
}

/// Performs the action at the API below `api_path`. Returns the text for stdout, or an empty one if a token was already
/// delivered there.
pub(crate) fn act(
    administration: Administration,
    api_path: &str,
    kind: Option<CredentialKind>,
    action: Action,
    signals: &Signals,
) -> Result<String, Failure> {
    let Administration { url, format, timeout, http, credential } = administration;
    let session = Session::begin(timeout, signals);
    let stackstate = || {
        let (http, credential) = session.read(http, credential)?;
        let kind = kind.unwrap_or_else(|| CredentialKind::of(&credential));
        StackState::new(Access { http: &http, url, credential: &credential }, api_path, kind)
    };
    match action {
        Action::Create { new, out } => {
            let place = Place::reserve(out)?;
            create(&stackstate()?, session, &new, place, format)
        }
        Action::List => {
            let stackstate = stackstate()?;
            let tokens = session.wait(stackstate.api(), stackstate.list(session.deadline))?;
            Ok(match format {
                Format::Json => json_list(&json!({"service-tokens": tokens})),
                Format::Text if tokens.is_empty() => "No service tokens found.\n".to_owned(),
                Format::Text => table(&rows(&tokens), " | ", LastColumn::Padded),
            })
        }
        Action::Delete(which) => {
            let stackstate = stackstate()?;
            let work = delete(&stackstate, which, session.deadline);
            let id =
                session.change(stackstate.api(), work, &format!("the token may be deleted, {SEE_LIST}"))?;
            Ok(match format {
                Format::Text => format!("✅ Service token deleted: {id}\n"),
                Format::Json => json(&json!({"deleted-service-token": id})),
            })
        }
    }
}

const SEE_LIST: &str = "see: monitoring-token stackstate list";

/// Deletes the token and returns its ID.
async fn delete(stackstate: &StackState, which: Which, deadline: Instant) -> Result<i64, Failure> {
    let refuse = |why: String| Err(Failure::failed(Stage::Exchange, Reason::TokenNotFound, why));
    let id = match which {
        Which::Id(id) => id,
        Which::Named(name) => {
            let listed = stackstate.list(deadline).await?;
            let ids: Vec<i64> = listed.iter().filter(|t| t.name == name).filter_map(|t| t.id).collect();
            let name = printable(&name);
            match ids.as_slice() {
                [id] => *id,
                [] => return refuse(format!("no service token is named {name}; {SEE_LIST}")),
                ids => {
                    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                    return refuse(format!(
                        "{} service tokens are named {name}; delete one by its ID: {}",
                        ids.len(),
                        ids.join(", ")
                    ));
                }
            }
        }
    };
    if stackstate.delete(id, deadline).await? {
        return Ok(id);
    }
    let listed = stackstate.list(deadline).await.unwrap_or_default();
    let near: Vec<String> = listed
        .iter()
        .filter(|token| token.id.is_some_and(|listed| listed != id && is_rounded(id, listed)))
        .filter_map(|token| Some(format!("{} ({})", token.id?, printable(&scrub(&token.name)))))
        .collect();
    refuse(if near.is_empty() {
        format!("no service token has the ID {id}; {SEE_LIST}")
    } else {
        format!(
            "no service token has the ID {id}, but there is {}: a tool such as jq rounds numbers above \
             9007199254740992; pass the ID as text, or use delete --name",
            near.join(", ")
        )
    })
}

/// True if a tool that stores numbers as floats would turn `listed` into `id`.
#[expect(clippy::cast_precision_loss, clippy::float_cmp, reason = "the loss is what is looked for")]
fn is_rounded(id: i64, listed: i64) -> bool {
    id as f64 == listed as f64
}

fn create(
    stackstate: &StackState,
    session: Session<'_>,
    new: &NewToken,
    place: Place,
    format: Format,
) -> Result<String, Failure> {
    let open = format!("the token {} may have been created, see: monitoring-token stackstate list", new.name);
    let work = stackstate.create(new, session.deadline);
    let Created { name, token, expiration } = session.make(stackstate.api(), work, &open)?;
    let text = |place: &str, token: Option<&str>| match format {
        Format::Text => format!("✅ Service token created: {place}\n"),
        Format::Json => {
            let shown = Shown { name: &name, token, expiration };
            // `json!` would sort the fields.
            json(&BTreeMap::from([("service-token", shown)]))
        }
    };
    match place {
        Place::File(mut file) => {
            file.fill(&token).map_err(|failure| failure.and(&lost(&name)))?;
            Ok(text(&file.path().display().to_string(), None))
        }
        Place::Stdout => {
            let token = token.expose_secret();
            // The response has no ID, and other tokens may have the same name, so the token is not deleted here.
            deliver(&text(token, Some(token)), || lost(&name))?;
            Ok(String::new())
        }
    }
}

fn lost(name: &str) -> String {
    format!(
        "the token {} is lost, delete it by the ID that monitoring-token stackstate list shows",
        printable(name)
    )
}

/// The order of the fields is that of `sts`.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<i64>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

fn rows(tokens: &[ServiceToken]) -> Vec<Vec<String>> {
    let head = ["ID", "NAME", "EXPIRATION", "ROLES", "DEDICATED_SUBJECT"].map(str::to_owned).to_vec();
    let rows = tokens.iter().map(|token| {
        vec![
            token.id.map(|id| id.to_string()).unwrap_or_default(),
            token.name.clone(),
            token.expiration.map(date::day_of_millis).unwrap_or_default(),
            format!("[{}]", token.roles.join(" ")),
            token.dedicated_subject.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    std::iter::once(head).chain(rows).collect()
}
