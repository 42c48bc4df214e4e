//! Rules of the `gafaelfawr` flags.

use super::http::http;
use super::token::{self, base_url, credential, on_command_line};
use super::{Purpose, run};
use crate::cli::Line;
use crate::cli::flags::HttpFlags;
use crate::cli::gafaelfawr::{Exec, GafaelfawrFlags, ServiceFlags};
use crate::failure::Failure;
use crate::issuer::gafaelfawr::{ADMIN_TOKEN, NewToken, URL};
use crate::issuer::{IssuerConfig, Site};
use crate::run::token::TokenRun;
use crate::sys::signal::Signals;

pub(crate) fn site(access: GafaelfawrFlags, http_flags: HttpFlags) -> Result<Site, Failure> {
    Ok(Site {
        flags: token::flags(&[
            ("--url", on_command_line(access.url.as_ref())),
            ("--admin-token-file", access.admin_token_file.as_ref().map(|path| path.as_os_str())),
            ("-ca-file", http_flags.ca_file.as_ref().map(|path| path.as_os_str())),
        ]),
        url: base_url(access.url, URL, None)?,
        http: http(http_flags)?,
        credential: credential(access.admin_token_file, &[ADMIN_TOKEN], None)?,
    })
}

pub(crate) fn new_token(ServiceFlags { username, name, scopes }: ServiceFlags) -> NewToken {
    NewToken { username, name, scopes: scopes.0 }
}

/// `gafaelfawr exec`, or `check` in front of it.
pub(crate) fn exec(line: Line<Exec>, purpose: Purpose, _: &Signals) -> Result<TokenRun, Failure> {
    run::check_command(&line, "monitoring-token gafaelfawr exec", purpose)?;
    let (Exec { gafaelfawr, service, run: flags }, line) = line.split();
    token::exec(flags, line, purpose, |http, _| {
        Ok((site(gafaelfawr, http)?, IssuerConfig::Gafaelfawr(new_token(service))))
    })
}
