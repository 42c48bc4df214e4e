//! `gafaelfawr`: rules of its flags.

use std::time::Duration;

use super::Purpose;
use super::credential::{credential, refuse_tokens_on_the_command_line};
use super::token::{self, Exec, list, no_operands};
use crate::admin::Administration;
use crate::admin::gafaelfawr::Action;
use crate::cli::verbs::AdminVerb;
use crate::cli::{Line, Values};
use crate::error::Failure;
use crate::run::token::TokenRun;
use crate::source::IssuerConfig;
use crate::source::gafaelfawr::exec::RunTokenConfig;
use crate::source::gafaelfawr::{ADMIN_TOKEN, MIN_LIFETIME, NewToken, URL, is_key, is_scope, is_username};

const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// `--username`; a service's begins with `bot-`.
fn username(values: &Values<'_>, service: bool) -> Result<String, Failure> {
    let name = values.text("username")?.unwrap_or_default();
    if name.is_empty() {
        return Err(Failure::usage(if service {
            "no --username given; a service's is bot-NAME"
        } else {
            "no --username given"
        }));
    }
    if service && !name.starts_with("bot-") {
        return Err(values.refuse("username", "must begin with bot-"));
    }
    if !is_username(name) {
        return Err(values.refuse(
            "username",
            "is no username: at most 64 lower-case letters, digits, and single dashes within",
        ));
    }
    Ok(name.to_owned())
}

fn new_token(values: &Values<'_>) -> Result<NewToken, Failure> {
    let mut scopes = list(values.text("scopes")?);
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(Failure::usage(
            "no --scopes given, such as write:sasquatch; a token without is good for nothing",
        ));
    }
    if !scopes.iter().all(|scope| is_scope(scope)) {
        return Err(values.refuse("scopes", "is no list of scopes such as write:sasquatch,read:tap"));
    }
    let name = values.text("name")?.filter(|name| !name.is_empty()).map(str::to_owned);
    Ok(NewToken { username: username(values, true)?, name, scopes })
}

/// `gafaelfawr exec`, or `check` in front of it.
pub fn exec(line: &Line, purpose: Purpose) -> Result<TokenRun, Failure> {
    let values = line.values();
    let Exec { run, url, env_name, http } = token::exec(line, purpose, URL, "gafaelfawr")?;
    let new = new_token(&values)?;
    let credential = credential(&values, &[ADMIN_TOKEN])?;
    let issuer = IssuerConfig::Gafaelfawr(RunTokenConfig { new, env_name });
    Ok(TokenRun { credential, http, url, run, issuer })
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
    Ok((token::administration(&values, URL, &[ADMIN_TOKEN])?, action))
}

fn lifetime(values: &Values<'_>) -> Result<Option<Duration>, Failure> {
    let lifetime = values.positive_duration("lifetime")?;
    match (lifetime, values.boolean("no-expiry")?.unwrap_or(false)) {
        (Some(_), true) => Err(Failure::usage("--lifetime and --no-expiry: give one of them")),
        (None, true) => Ok(None),
        (Some(lifetime), false) if lifetime < MIN_LIFETIME => {
            Err(values.refuse("lifetime", "is less than 5m, the least that Gafaelfawr takes"))
        }
        (lifetime, false) => Ok(Some(lifetime.unwrap_or(DEFAULT_LIFETIME))),
    }
}

fn key(line: &Line) -> Result<String, Failure> {
    let [word] = line.operands.as_slice() else {
        return Err(Failure::usage("give one KEY, as gafaelfawr list shows it"));
    };
    match word.to_str() {
        Some(key) if is_key(key) => Ok(key.to_owned()),
        // It may be the whole token, so it is not shown.
        _ => Err(Failure::usage(
            "delete takes the KEY of a token: the 22 characters between gt- and the dot, and never the whole token",
        )),
    }
}
