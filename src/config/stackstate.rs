//! Rules of the `stackstate` flags.

use std::ffi::OsStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::http;
use super::sts::Context;
use super::token::{self, base_url, credential, on_command_line};
use super::{Purpose, path_variable, run};
use crate::cli::Line;
use crate::cli::flags::HttpFlags;
use crate::cli::stackstate::{Exec, NAME, StackStateFlags, StsFlags, SubjectFlags, is_api_path};
use crate::cli::values::CommaList;
use crate::failure::{Failure, Reason};
use crate::http::HttpConfig;
use crate::issuer::credential::Credential;
use crate::issuer::stackstate::{
    API_PATH, API_TOKEN, ApiConfig, CA_DATA, CA_PATH, CONTEXT, CREDENTIALS, CredentialKind, DEFAULT_API_PATH,
    NewToken, SERVICE_TOKEN, URL,
};
use crate::issuer::{IssuerConfig, Site};
use crate::run::token::TokenRun;
use crate::sys::signal::Signals;
use crate::until::Until;

/// The installation by flags and variables, completed from a context of `sts`.
pub(crate) fn site(
    flags: StackStateFlags,
    http: HttpFlags,
    until: &Until<'_>,
) -> Result<(Site, ApiConfig), Failure> {
    let has_credential =
        flags.admin_token_file.is_some() || CREDENTIALS.iter().any(|name| path_variable(name).is_some());
    let context = context(&flags, has_credential, until)?.unwrap_or_default();
    context.check()?;
    let sts = &flags.sts;
    let reached_by = token::flags(&[
        ("--url", on_command_line(flags.url.as_ref())),
        ("--api-path", flags.api_path.as_ref().map(OsStr::new)),
        ("--context", sts.context.as_ref().map(OsStr::new)),
        ("--config", sts.config.as_ref().map(|path| path.as_os_str())),
        ("--admin-token-file", flags.admin_token_file.as_ref().map(|path| path.as_os_str())),
        ("-ca-file", http.ca_file.as_ref().or(sts.ca_cert_path.as_ref()).map(|path| path.as_os_str())),
    ]);
    let url = base_url(flags.url, URL, context.url.as_deref().map(|url| (url, context.origin.as_str())))?;
    let (other, kind) = if has_credential { (None, None) } else { context.credential()?.unzip() };
    let credential = credential(flags.admin_token_file, &CREDENTIALS, other)?;
    let kind = match &credential {
        Credential::Variable(API_TOKEN, _) => Some(CredentialKind::Api),
        Credential::Variable(SERVICE_TOKEN, _) => Some(CredentialKind::Service),
        Credential::Variable(..) => Some(CredentialKind::Kubernetes),
        Credential::Context(_) => kind,
        Credential::File(_) => None,
    };
    let path = flags.api_path.or_else(|| context.api_path.clone());
    let path = path.unwrap_or_else(|| DEFAULT_API_PATH.to_owned());
    if !is_api_path(&path) {
        let origin = &context.origin;
        return Err(Failure::usage(format!("{origin}: invalid api-path: expected a path such as /api")));
    }
    let mut variables = vec![(API_PATH, path.clone())];
    // `sts` reads what is not in these variables from a context: from the current one of its file, unless this names
    // another.
    variables.extend(context.name.clone().map(|name| (CONTEXT, name)));
    let mut http = connections(http, flags.sts, context)?;
    http.trust.read_pipe(until)?;
    let ca = match (&http.trust.extra, &http.trust.extra_pem) {
        (Some(path), _) => path.to_str().map(|path| (CA_PATH, path.to_owned())),
        (None, Some((_, pem))) => Some((CA_DATA, STANDARD.encode(pem))),
        (None, None) => None,
    };
    // The kernel accepts no variable of more than 128 KiB.
    variables.extend(ca.filter(|(name, value)| name.len() + value.len() < 128 * 1024 - 2));
    Ok((Site { url, http, credential, flags: reached_by }, ApiConfig { path, kind, variables }))
}

/// The context. If nothing of it is needed, it does not matter that it cannot be read.
fn context(
    flags: &StackStateFlags,
    has_credential: bool,
    until: &Until<'_>,
) -> Result<Option<Context>, Failure> {
    let is_needed = flags.url.is_none() || !has_credential;
    let is_requested = flags.sts.context.is_some() || flags.sts.config.is_some();
    match Context::load(&flags.sts, is_needed, until) {
        Err(failure) if !is_needed && !is_requested && failure.reason == Reason::StsConfigInvalid => Ok(None),
        context => context,
    }
}

/// `-ca-file`, or the name that `sts` has for it. A path overrides data, as in `sts`.
fn connections(flags: HttpFlags, sts: StsFlags, context: Context) -> Result<HttpConfig, Failure> {
    let mut http = http(flags)?;
    http.trust.extra = http.trust.extra.or(sts.ca_cert_path);
    if http.trust.extra.is_none() {
        http.trust.extra_pem = match (sts.ca_cert_base64_data, context.ca_base64) {
            (Some(given), _) => Some((given.origin, given.value)),
            (None, Some(data)) => {
                let invalid = |_| {
                    let origin = &context.origin;
                    Failure::usage(format!("{origin}: the CA certificate is not valid base64"))
                };
                let pem = STANDARD.decode(data.trim()).map_err(invalid)?;
                Some((context.origin, pem))
            }
            (None, None) => None,
        };
    }
    Ok(http)
}

pub(crate) fn roles(lists: Vec<CommaList>) -> Result<Vec<String>, Failure> {
    let roles: Vec<String> = lists.into_iter().flat_map(|list| list.0).collect();
    if roles.is_empty() {
        return Err(Failure::usage("missing --roles, for example stackstate-power-user"));
    }
    Ok(roles)
}

pub(crate) fn new_token(
    name: String,
    subject: SubjectFlags,
    expiry_date: Option<i64>,
) -> Result<NewToken, Failure> {
    let dedicated_subject = subject.dedicated_subject.unwrap_or_default();
    Ok(NewToken { name, roles: roles(subject.roles)?, expiry_date, dedicated_subject })
}

/// `stackstate exec`, or `check` in front of it.
pub(crate) fn exec(line: Line<Exec>, purpose: Purpose, signals: &Signals) -> Result<TokenRun, Failure> {
    run::check_command(&line, "monitoring-token stackstate exec", purpose)?;
    let (Exec { stackstate, name, subject, run: flags }, line) = line.split();
    let new = new_token(NAME.or(name), subject, None)?;
    token::exec(flags, line, purpose, |http, run| {
        let (site, api) = site(stackstate, http, &run.until(signals)?)?;
        Ok((site, IssuerConfig::StackState { new, api }))
    })
}
