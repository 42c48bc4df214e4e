//! `stackstate create|list|delete`: prints what `sts service-token` prints, also into a pipe.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::output::{json, json_list, table};
use super::{Place, change, connect, make, wait};
use crate::cli::flags::TIMEOUT;
use crate::cli::stackstate::{Create, Delete, List, StackStateFlags, parse_id};
use crate::cli::{AdminFlags, FORMAT, Format, Line};
use crate::config::{self, stackstate::new_token};
use crate::date;
use crate::failure::{Failure, Reason, Stage, printable};
use crate::issuer::stackstate::{Created, ServiceToken, StackState};
use crate::secret::{ExposeSecret as _, scrub};
use crate::sys::signal::Signals;
use crate::until::Until;

/// `Date` has whole seconds.
const DATE_SLACK_SECONDS: i64 = 2;

/// The installation, the time limit of the verb, and the format of its output.
fn begin(
    access: StackStateFlags,
    admin: AdminFlags,
    signals: &Signals,
) -> Result<(StackState, Until<'_>, Format), Failure> {
    let until = Until::in_time(TIMEOUT.or(admin.timeout)).or_signal(signals);
    let (site, api) = config::stackstate::site(access, admin.http, &until)?;
    let stackstate = connect(&until, site, |access| StackState::new(access, api))?;
    Ok((stackstate, until, FORMAT.or(admin.output)))
}

pub(crate) fn create(line: Line<Create>, signals: &Signals) -> Result<String, Failure> {
    let Create { stackstate, name, subject, expiration, out, admin } = line.flags;
    let new = new_token(name, subject, expiration)?;
    let (stackstate, until, format) = begin(stackstate, admin, signals)?;
    let place = Place::reserve(out.out)?;
    let see = stackstate.api.command_line("list");
    let open = format!("the token {} may have been created; see: {see}", new.name);
    let began = date::unix_now().cast_signed();
    let work = stackstate.create(&new);
    let Created { name, token, expiration } = make(&until, &stackstate.api, work, &open)?;
    let shown = |out: Option<&str>| match format {
        Format::Text => {
            format!("✅ Service token created: {}\n", out.unwrap_or_else(|| token.expose_secret()))
        }
        Format::Json => {
            let token = out.is_none().then(|| token.expose_secret());
            // `json!` would sort the fields.
            json(&BTreeMap::from([("service-token", CreatedToken { name: &name, token, expiration })]))
        }
    };
    let lost = format!("the token {} is lost; delete it by the ID that {see} shows", printable(&name));
    place.deliver(&until, &token, shown, |advice| {
        let until = until.again();
        // Without the server's clock, an older token could not be told from a new one.
        let began = stackstate.api.client.usable_clock_offset_seconds().map(|offset| {
            began.saturating_sub(offset.saturating_add(DATE_SLACK_SECONDS)).saturating_mul(1000)
        });
        let is_new = |token: &ServiceToken| {
            token.last_update_timestamp.zip(began).is_some_and(|(at, began)| at >= began)
                && (&token.roles, token.expiration) == (&new.roles, expiration)
        };
        let work = delete_only(&stackstate, &name, is_new);
        match wait(&until, &stackstate.api, work) {
            Ok(true) => format!("the token {} has been deleted{advice}", printable(&name)),
            Ok(false) => lost,
            Err(failure) => format!("{lost}; {failure}"),
        }
    })
}

/// Deletes the token of this name if there is only one and it `is_new`; otherwise returns false. The response to its
/// creation has no ID, and it may not be listed yet.
async fn delete_only(
    stackstate: &StackState,
    name: &str,
    is_new: impl Fn(&ServiceToken) -> bool,
) -> Result<bool, Failure> {
    let listed = stackstate.list().await?;
    let named: Vec<&ServiceToken> = listed.iter().filter(|token| token.name == name).collect();
    match named[..] {
        [ServiceToken { id: Some(id), .. }] if is_new(named[0]) => stackstate.delete(*id).await,
        _ => Ok(false),
    }
}

pub(crate) fn list(line: Line<List>, signals: &Signals) -> Result<String, Failure> {
    let (stackstate, until, format) = begin(line.flags.stackstate, line.flags.admin, signals)?;
    let tokens = wait(&until, &stackstate.api, stackstate.list())?;
    Ok(match format {
        Format::Json => json_list(&json!({"service-tokens": tokens})),
        Format::Text if tokens.is_empty() => "No service tokens found.\n".to_owned(),
        Format::Text => table(COLUMNS, rows(&tokens), " | "),
    })
}

pub(crate) fn delete(line: Line<Delete>, signals: &Signals) -> Result<String, Failure> {
    let Delete { stackstate, id, name, admin } = line.flags;
    let which = match (name, id, line.operands.as_slice()) {
        (Some(name), None, []) => Which::Named(name),
        (None, Some(id), []) => Which::Id(id),
        // It may be a token, so it is not shown.
        (None, None, [word]) => Which::Id(word.to_str().and_then(parse_id).ok_or_else(|| {
            Failure::usage("delete expects the ID of a token, a decimal number as shown by stackstate list")
        })?),
        _ => return Err(Failure::usage("expected one ID or --name, as shown by stackstate list")),
    };
    let (stackstate, until, format) = begin(stackstate, admin, signals)?;
    let work = delete_which(&stackstate, which);
    let id = change(
        &until,
        &stackstate.api,
        work,
        &format!("the token may be deleted; see: {}", stackstate.api.command_line("list")),
    )?;
    Ok(match format {
        Format::Text => format!("✅ Service token deleted: {id}\n"),
        Format::Json => json(&json!({"deleted-service-token": id})),
    })
}

enum Which {
    Id(i64),
    /// Must match exactly one token.
    Named(String),
}

/// Deletes the token and returns its ID.
async fn delete_which(stackstate: &StackState, which: Which) -> Result<i64, Failure> {
    let see = format!("see: {}", stackstate.api.command_line("list"));
    let refuse = |why: String| Err(Failure::failed(Stage::Exchange, Reason::TokenNotFound, why));
    let id = match which {
        Which::Id(id) => id,
        Which::Named(name) => {
            let ids = stackstate.ids_of(&name).await?;
            let name = printable(&name);
            match ids.as_slice() {
                [id] => *id,
                [] => return refuse(format!("no service token is named {name}; {see}")),
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
    if stackstate.delete(id).await? {
        return Ok(id);
    }
    let listed = stackstate.list().await.unwrap_or_default();
    let near: Vec<String> = listed
        .iter()
        .filter(|token| token.id.is_some_and(|listed| listed != id && is_rounded(id, listed)))
        .filter_map(|token| Some(format!("{} ({})", token.id?, printable(&scrub(&token.name)))))
        .collect();
    refuse(if near.is_empty() {
        format!("no service token has the ID {id}; {see}")
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

/// The order of the fields is that of `sts`.
#[derive(Serialize)]
struct CreatedToken<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<i64>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

const COLUMNS: [&str; 5] = ["ID", "NAME", "EXPIRATION", "ROLES", "DEDICATED_SUBJECT"];

fn rows(tokens: &[ServiceToken]) -> Vec<[String; COLUMNS.len()]> {
    let row = |token: &ServiceToken| {
        [
            token.id.map(|id| id.to_string()).unwrap_or_default(),
            token.name.clone(),
            token.expiration.map(date::day_of_millis).unwrap_or_default(),
            format!("[{}]", token.roles.join(" ")),
            token.dedicated_subject.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    tokens.iter().map(row).collect()
}
