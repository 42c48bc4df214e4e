//! `gafaelfawr create|list|delete`.

use serde_json::json;

use super::output::{json, json_list, table};
use super::{Place, change, connect, make, wait};
use crate::cli::flags::TIMEOUT;
use crate::cli::gafaelfawr::{Create, Delete, GafaelfawrFlags, LIFETIME, List};
use crate::cli::{AdminFlags, FORMAT, Format, Line};
use crate::config::{self, gafaelfawr::new_token};
use crate::date::{self, unix_now};
use crate::failure::{Failure, Reason, Stage};
use crate::issuer::gafaelfawr::{
    Gafaelfawr, MAX_EXPIRES, SHORTEST_LIFETIME, TokenInfo, is_token_key, token_key_of,
};
use crate::secret::ExposeSecret as _;
use crate::sys::signal::Signals;
use crate::until::Until;

/// The environment, the time limit of the verb, and the format of its output.
fn begin(
    access: GafaelfawrFlags,
    admin: AdminFlags,
    signals: &Signals,
) -> Result<(Gafaelfawr, Until<'_>, Format), Failure> {
    let site = config::gafaelfawr::site(access, admin.http)?;
    let until = Until::in_time(TIMEOUT.or(admin.timeout)).or_signal(signals);
    Ok((connect(&until, site, Gafaelfawr::new)?, until, FORMAT.or(admin.output)))
}

pub(crate) fn create(line: Line<Create>, signals: &Signals) -> Result<String, Failure> {
    let Create { gafaelfawr, service, lifetime, no_expiry, out, admin } = line.flags;
    let lifetime = match (lifetime, no_expiry.unwrap_or_default()) {
        (Some(_), true) => {
            return Err(Failure::usage("--lifetime and --no-expiry cannot be used together; give one"));
        }
        (None, true) => None,
        (lifetime, false) => Some(LIFETIME.or(lifetime)),
    };
    let new = new_token(service);
    let (gafaelfawr, until, format) = begin(gafaelfawr, admin, signals)?;
    let place = Place::reserve(out.out)?;
    let username = &new.username;
    let expires = match lifetime {
        None => None,
        Some(lifetime) => {
            // By the server's clock. It rejects the bootstrap token here, but its response still has a date.
            let url = gafaelfawr.own_token();
            let clock = gafaelfawr.api.clock_offset_seconds(&url);
            let server_now = unix_now().saturating_add_signed(-wait(&until, &gafaelfawr.api, clock)?);
            let lifetime = lifetime.max(SHORTEST_LIFETIME).as_secs();
            Some(server_now.saturating_add(lifetime).min(MAX_EXPIRES))
        }
    };
    let open = format!("a token may have been created; see: {}", gafaelfawr.list_command(username));
    let work = gafaelfawr.create(&new, expires);
    let token = make(&until, &gafaelfawr.api, work, &open)?;
    let key = token_key_of(&token).unwrap_or_default();
    let shown = |out: Option<&str>| match (format, out) {
        (Format::Text, None) => format!("{}\n", token.expose_secret()),
        (Format::Text, Some(path)) => {
            let expiry = expires.map_or_else(|| "never".to_owned(), date::time);
            format!("token {key} of {username} is in {path}; expires: {expiry}\n")
        }
        (Format::Json, out) => {
            let (member, value) = out.map_or(("token", token.expose_secret()), |path| ("out", path));
            json(&json!({
                member: value, "key": key, "username": username, "scopes": new.scopes, "expires": expires
            }))
        }
    };
    let lost = format!("the token is lost; delete it: {}", gafaelfawr.delete_command(username, key));
    place.deliver(&until, &token, shown, |advice| {
        let until = until.again();
        let work = gafaelfawr.delete(username, key);
        match wait(&until, &gafaelfawr.api, work) {
            Ok(_) => format!("the token {key} has been deleted{advice}"),
            Err(failure) => format!("{lost}; {failure}"),
        }
    })
}

pub(crate) fn list(line: Line<List>, signals: &Signals) -> Result<String, Failure> {
    let List { gafaelfawr, username, admin } = line.flags;
    let (gafaelfawr, until, format) = begin(gafaelfawr, admin, signals)?;
    let tokens = wait(&until, &gafaelfawr.api, gafaelfawr.list(&username))?;
    Ok(match format {
        Format::Json => json_list(&tokens),
        Format::Text if tokens.is_empty() => format!("no tokens of {username}\n"),
        Format::Text => table(COLUMNS, rows(&tokens, unix_now()), "  "),
    })
}

pub(crate) fn delete(line: Line<Delete>, signals: &Signals) -> Result<String, Failure> {
    let [word] = line.operands.as_slice() else {
        return Err(Failure::usage("expected one KEY, as shown by gafaelfawr list"));
    };
    // It may be the whole token, so it is not shown.
    let key = word.to_str().filter(|key| is_token_key(key)).ok_or_else(|| {
        Failure::usage(
            "delete expects the KEY of a token: the 22 characters between gt- and the dot, never the whole token",
        )
    })?;
    let Delete { gafaelfawr, username, admin } = line.flags;
    let (gafaelfawr, until, format) = begin(gafaelfawr, admin, signals)?;
    let deletion = gafaelfawr.delete(&username, key);
    let see = format!("see: {}", gafaelfawr.list_command(&username));
    if !change(&until, &gafaelfawr.api, deletion, &format!("{key} may be deleted, {see}"))? {
        let message = format!("{username} has no token {key}; {see}");
        return Err(Failure::failed(Stage::Exchange, Reason::TokenNotFound, message));
    }
    Ok(match format {
        Format::Json => json(&json!({"deleted": key, "username": username})),
        Format::Text => format!("deleted {key} of {username}\n"),
    })
}

const COLUMNS: [&str; 5] = ["KEY", "TYPE", "SCOPES", "CREATED", "EXPIRES"];

fn rows(tokens: &[TokenInfo], now: u64) -> Vec<[String; COLUMNS.len()]> {
    let row = |token: &TokenInfo| {
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
        [token.token.clone(), kind, token.scopes.join(","), created, expires]
    };
    tokens.iter().map(row).collect()
}
