//! `gafaelfawr`: rules of its flags.

use std::time::Duration;

use super::Purpose;
use super::credential::{credential, refuse_tokens_on_the_command_line};
use super::http::http;
use super::token::{self, DEFAULT_LIFETIME, Exec, base_url, no_operands};
use crate::admin::Administration;
use crate::admin::gafaelfawr::Action;
use crate::admin::rotate::{self, IssuerConfig as RotationIssuer, Rotation};
use crate::cli::verbs::AdminVerb;
use crate::cli::{Line, Values};
use crate::csv;
use crate::error::Failure;
use crate::run::token::TokenRun;
use crate::source::IssuerConfig;
use crate::source::gafaelfawr::exec::RunTokenConfig;
use crate::source::gafaelfawr::{ADMIN_TOKEN, MIN_LIFETIME, NewToken, URL, is_key, is_scope, is_username};

/// `--username`. The name of a service must begin with `bot-`.
fn username(values: &Values<'_>, service: bool) -> Result<String, Failure> {
    let Some(name) = values.text("username")? else {
        return Err(Failure::usage("missing --username"));
    };
    if service && !name.starts_with("bot-") {
        return Err(values.invalid("username", "the name of a service must begin with bot-"));
    }
    if !is_username(name) {
        return Err(values.invalid(
            "username",
            "not a valid username: expected at most 64 lowercase letters, digits and single dashes",
        ));
    }
    Ok(name.to_owned())
}

fn new_token(values: &Values<'_>) -> Result<NewToken, Failure> {
    let mut scopes = csv::fields(values.text("scopes")?.unwrap_or_default()).unwrap_or_default();
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Failure::usage("missing --scopes, for example write:sasquatch"));
    }
    if !scopes.iter().all(|scope| is_scope(scope)) {
        return Err(values.invalid("scopes", "not a list of scopes such as write:sasquatch,read:tap"));
    }
    let name = values.text("name")?.map(str::to_owned);
    Ok(NewToken { username: username(values, true)?, name, scopes })
}

/// `gafaelfawr exec`, or `check` in front of it.
pub fn exec(line: &Line, purpose: Purpose) -> Result<TokenRun, Failure> {
    let values = line.values();
    let (new, url) = (new_token(&values)?, base_url(&values, URL, None)?);
    let Exec { run, env_name } = token::exec(line, purpose, "gafaelfawr", &url, ("user", &new.username))?;
    let http = http(&values)?;
    let credential = credential(&values, &[ADMIN_TOKEN], None)?;
    let issuer = IssuerConfig::Gafaelfawr(RunTokenConfig { new, env_name });
    Ok(TokenRun { credential, http, url, run, issuer })
}

/// `gafaelfawr rotate`.
pub fn rotation(line: &Line) -> Result<Rotation, Failure> {
    let values = line.values();
    refuse_tokens_on_the_command_line(&values, ADMIN_TOKEN)?;
    let token::Rotate { file, renew_before, keep_old, lifetime, metrics_textfile } = token::rotate(line)?;
    if values.boolean("no-expiry")?.unwrap_or(false) {
        return Err(Failure::usage("--no-expiry: a token that is rotated must expire; use --lifetime"));
    }
    let new = new_token(&values)?;
    let url = base_url(&values, URL, None)?;
    let labels = token::labels(&values, "gafaelfawr", &url, ("user", &new.username))?;
    let administration = Administration {
        url,
        format: token::format(&values)?,
        timeout: token::timeout(&values)?,
        http: http(&values)?,
        credential: credential(&values, &[ADMIN_TOKEN], None)?,
    };
    let lifetime = lifetime.unwrap_or(DEFAULT_LIFETIME);
    let issuer = RotationIssuer::Gafaelfawr(rotate::gafaelfawr::Config { new, lifetime });
    Ok(Rotation { administration, file, renew_before, keep_old, metrics_textfile, labels, issuer })
}

/// `gafaelfawr create|list|delete`.
pub fn administration(verb: AdminVerb, line: &Line) -> Result<(Administration, Action), Failure> {
    let values = line.values();
    refuse_tokens_on_the_command_line(&values, ADMIN_TOKEN)?;
    let action = match verb {
        AdminVerb::Create => {
            no_operands(line)?;
            let (new, lifetime) = (new_token(&values)?, lifetime(&values)?);
            Action::Create { new, lifetime, out: values.path("out")? }
        }
        AdminVerb::List => {
            no_operands(line)?;
            Action::List { username: username(&values, false)? }
        }
        AdminVerb::Delete => Action::Delete { username: username(&values, false)?, key: key(line)? },
    };
    let administration = Administration {
        url: base_url(&values, URL, None)?,
        format: token::format(&values)?,
        timeout: token::timeout(&values)?,
        http: http(&values)?,
        credential: credential(&values, &[ADMIN_TOKEN], None)?,
    };
    Ok((administration, action))
}

fn lifetime(values: &Values<'_>) -> Result<Option<Duration>, Failure> {
    let lifetime = match values.text("lifetime")? {
        None => None,
        Some(text) => Some(token::lifetime(text).ok_or_else(|| {
            values.invalid("lifetime", "not a valid lifetime: expected for example 12h, 7d or 1d12h")
        })?),
    };
    match (lifetime, values.boolean("no-expiry")?.unwrap_or(false)) {
        (Some(_), true) => Err(Failure::usage("--lifetime and --no-expiry exclude each other: give one")),
        (None, true) => Ok(None),
        (Some(lifetime), false) if lifetime < MIN_LIFETIME => {
            Err(values.invalid("lifetime", "Gafaelfawr requires at least 5m"))
        }
        (lifetime, false) => Ok(Some(lifetime.unwrap_or(DEFAULT_LIFETIME))),
    }
}

fn key(line: &Line) -> Result<String, Failure> {
    let [word] = line.operands.as_slice() else {
        return Err(Failure::usage("expected one KEY, as shown by gafaelfawr list"));
    };
    match word.to_str() {
        Some(key) if is_key(key) => Ok(key.to_owned()),
        // It may be the whole token, so it is not shown.
        _ => Err(Failure::usage(
            "delete expects the KEY of a token: the 22 characters between gt- and the dot, never the whole token",
        )),
    }
}
