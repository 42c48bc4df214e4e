//! Rules of the `gafaelfawr` flags.

use std::time::Duration;

use super::Purpose;
use super::http::http;
use super::token::credential;
use super::token::{self, base_url};
use crate::admin::Administration;
use crate::admin::gafaelfawr::Action;
use crate::admin::rotate::gafaelfawr::Config;
use crate::admin::rotate::{self, Rotation};
use crate::cli::flags::TIMEOUT;
use crate::cli::gafaelfawr::{Create, Delete, Exec, GafaelfawrFlags, LIFETIME, List, Rotate, ServiceFlags};
use crate::cli::{AdminFlags, CommandLine as _, FORMAT, LIFETIME as ROTATED_LIFETIME, Line};
use crate::failure::Failure;
use crate::issuer::IssuerConfig;
use crate::issuer::gafaelfawr::{ADMIN_TOKEN, NewToken, URL, is_token_key};
use crate::run::token::TokenRun;

fn new_token(ServiceFlags { username, name, scopes }: ServiceFlags) -> NewToken {
    NewToken { username, name, scopes: scopes.0 }
}

/// `gafaelfawr exec`, or `check` in front of it.
pub(crate) fn exec(line: Line<Exec>, purpose: Purpose) -> Result<TokenRun, Failure> {
    let debug = line.flags.diagnostics().debug;
    let Exec { gafaelfawr, service, run: flags } = line.flags;
    let (new, url) = (new_token(service), base_url(gafaelfawr.url, URL, None)?);
    let (issuer, whose) = (("gafaelfawr", &url), ("user", new.username.as_str()));
    let http = http(flags.http.clone())?;
    let (run, env_name) = token::exec(flags, (Exec::PROGRAM, line.operands), purpose, issuer, whose, debug)?;
    let credential = credential(gafaelfawr.admin_token_file, &[ADMIN_TOKEN], None)?;
    let issuer = IssuerConfig::Gafaelfawr(new);
    Ok(TokenRun { credential, http, url, run, issuer, env_name })
}

pub(crate) fn rotation(line: Line<Rotate>) -> Result<Rotation, Failure> {
    let Rotate { gafaelfawr, rotation: flags, service, admin } = line.flags;
    let (new, lifetime) = (new_token(service), ROTATED_LIFETIME.or(flags.lifetime));
    let whose = ("gafaelfawr", ("user", &*new.username.clone()));
    let issuer = rotate::IssuerConfig::Gafaelfawr(Config { new, lifetime });
    token::rotation(administration(gafaelfawr, admin)?, flags, whose, issuer)
}

pub(crate) fn create(line: Line<Create>) -> Result<(Administration, Action), Failure> {
    let Create { gafaelfawr, service, lifetime, no_expiry, out, admin } = line.flags;
    let action =
        Action::Create { new: new_token(service), lifetime: life(lifetime, no_expiry)?, out: out.out };
    Ok((administration(gafaelfawr, admin)?, action))
}

pub(crate) fn list(line: Line<List>) -> Result<(Administration, Action), Failure> {
    let List { gafaelfawr, username, admin } = line.flags;
    Ok((administration(gafaelfawr, admin)?, Action::List { username }))
}

pub(crate) fn delete(line: Line<Delete>) -> Result<(Administration, Action), Failure> {
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
    let action = Action::Delete { username, key: key.to_owned() };
    Ok((administration(gafaelfawr, admin)?, action))
}

fn administration(access: GafaelfawrFlags, admin: AdminFlags) -> Result<Administration, Failure> {
    Ok(Administration {
        url: base_url(access.url, URL, None)?,
        format: FORMAT.or(admin.output),
        timeout: TIMEOUT.or(admin.timeout),
        http: http(admin.http)?,
        credential: credential(access.admin_token_file, &[ADMIN_TOKEN], None)?,
    })
}

/// `None`: it never expires.
fn life(lifetime: Option<Duration>, no_expiry: Option<bool>) -> Result<Option<Duration>, Failure> {
    match (lifetime, no_expiry.unwrap_or_default()) {
        (Some(_), true) => Err(Failure::usage("--lifetime and --no-expiry exclude each other: give one")),
        (None, true) => Ok(None),
        (lifetime, false) => Ok(Some(LIFETIME.or(lifetime))),
    }
}
