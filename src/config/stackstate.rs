//! Rules of the `stackstate` flags.

use std::ffi::OsString;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::http::http;
use super::sts::Context;
use super::token::credential;
use super::token::{self, base_url};
use super::{Purpose, path_variable};
use crate::admin::Administration;
use crate::admin::bootstrap::{Bootstrap as Values, Print};
use crate::admin::rotate::stackstate::{Config, Expiry};
use crate::admin::rotate::{self, Rotation};
use crate::admin::stackstate::{Action, Which};
use crate::cli::flags::{HttpFlags, TIMEOUT};
use crate::cli::stackstate::{
    Bootstrap, Create, Delete, Exec, List, NAME, PRINT, Printed, Rotate, StackStateFlags, StsFlags,
    SubjectFlags, TTL, is_api_path, parse_id,
};
use crate::cli::values::CommaList;
use crate::cli::{AdminFlags, CommandLine as _, FORMAT, LIFETIME, Line};
use crate::failure::Failure;
use crate::http::HttpConfig;
use crate::issuer::IssuerConfig;
use crate::issuer::credential::Credential;
use crate::issuer::stackstate::exec::RunTokenConfig;
use crate::issuer::stackstate::{
    API_TOKEN, CREDENTIALS, CredentialKind, DEFAULT_API_PATH, NewToken, SERVICE_TOKEN, URL,
};
use crate::run::token::TokenRun;

/// How to reach the installation: flags and variables, completed from a context of `sts`.
struct Access {
    url: Url,
    api_path: String,
    http: HttpConfig,
    credential: Credential,
    /// The kind of the credential, if its origin tells.
    kind: Option<CredentialKind>,
}

fn access(flags: StackStateFlags, http: HttpFlags) -> Result<Access, Failure> {
    let context = context(&flags)?.unwrap_or_default();
    context.check()?;
    let url = base_url(flags.url, URL, context.url.as_deref().map(|url| (url, context.origin.as_str())))?;
    let (other, kind) = context.credential()?.unzip();
    let credential = credential(flags.admin_token_file, &CREDENTIALS, other)?;
    let kind = match &credential {
        Credential::Variable(API_TOKEN, _) => Some(CredentialKind::Api),
        Credential::Variable(SERVICE_TOKEN, _) => Some(CredentialKind::Service),
        Credential::Variable(..) => Some(CredentialKind::Kubernetes),
        Credential::Context(..) => kind,
        Credential::File(_) | Credential::StandardInput => None,
    };
    let api_path = flags.api_path.or_else(|| context.api_path.clone());
    let api_path = api_path.unwrap_or_else(|| DEFAULT_API_PATH.to_owned());
    if !is_api_path(&api_path) {
        let origin = &context.origin;
        return Err(Failure::usage(format!("{origin}: invalid api-path: expected a path such as /api")));
    }
    Ok(Access { url, api_path, http: connections(http, flags.sts, context)?, credential, kind })
}

/// The context. If nothing of it is needed, it does not matter that it cannot be read.
fn context(flags: &StackStateFlags) -> Result<Option<Context>, Failure> {
    let has_credential =
        flags.admin_token_file.is_some() || CREDENTIALS.iter().any(|name| path_variable(name).is_some());
    let is_needed =
        flags.url.is_none() || !has_credential || flags.sts.context.is_some() || flags.sts.config.is_some();
    match Context::load(&flags.sts) {
        Err(_) if !is_needed => Ok(None),
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

fn roles(lists: Vec<CommaList>) -> Result<Vec<String>, Failure> {
    let roles: Vec<String> = lists.into_iter().flat_map(|list| list.0).collect();
    if roles.is_empty() {
        return Err(Failure::usage("missing --roles, for example stackstate-power-user"));
    }
    Ok(roles)
}

fn new_token(name: String, subject: SubjectFlags, expiry_date: Option<i64>) -> Result<NewToken, Failure> {
    let dedicated_subject = subject.dedicated_subject.unwrap_or_default();
    Ok(NewToken { name, roles: roles(subject.roles)?, expiry_date, dedicated_subject })
}

/// `stackstate exec`, or `check` in front of it.
pub(crate) fn exec(line: Line<Exec>, purpose: Purpose) -> Result<TokenRun, Failure> {
    let debug = line.flags.diagnostics().debug;
    let Exec { stackstate, name, subject, run: flags } = line.flags;
    let new = new_token(NAME.or(name), subject, None)?;
    let Access { url, api_path, http, credential, kind } = access(stackstate, flags.http.clone())?;
    let (issuer, whose) = (("stackstate", &url), ("name", new.name.as_str()));
    let (run, env_name) = token::exec(flags, (Exec::PROGRAM, line.operands), purpose, issuer, whose, debug)?;
    let api_path = Some(api_path).filter(|path| path != DEFAULT_API_PATH);
    let issuer = IssuerConfig::StackState(RunTokenConfig { api_path, kind, new });
    Ok(TokenRun { credential, http, url, run, issuer, env_name })
}

pub(crate) fn rotation(line: Line<Rotate>) -> Result<Rotation, Failure> {
    let Rotate { stackstate, rotation: flags, name, subject, expiration, admin } = line.flags;
    let expiry = match expiration {
        Some(_) if flags.lifetime.is_some() => {
            return Err(Failure::usage("--lifetime and --expiration exclude each other: give one"));
        }
        Some(millis) => Expiry::At(u64::try_from(millis / 1000).unwrap_or_default()),
        None => Expiry::Lifetime(LIFETIME.or(flags.lifetime)),
    };
    let new = new_token(name, subject, None)?;
    let Administered { administration, api_path, kind, .. } = administered(stackstate, admin, ())?;
    let whose = ("stackstate", ("name", &*new.name.clone()));
    let issuer = rotate::IssuerConfig::StackState(Config { api_path, kind, new, expiry });
    token::rotation(administration, flags, whose, issuer)
}

/// The command line of `create`, `list` or `delete`.
pub(crate) struct Administered<A = Action> {
    pub(crate) administration: Administration,
    pub(crate) api_path: String,
    /// The kind of the credential, if its origin tells.
    pub(crate) kind: Option<CredentialKind>,
    pub(crate) action: A,
}

fn administered<A>(
    stackstate: StackStateFlags,
    admin: AdminFlags,
    action: A,
) -> Result<Administered<A>, Failure> {
    let Access { url, api_path, http, credential, kind } = access(stackstate, admin.http)?;
    let administration = Administration {
        url,
        format: FORMAT.or(admin.output),
        timeout: TIMEOUT.or(admin.timeout),
        http,
        credential,
    };
    Ok(Administered { administration, api_path, kind, action })
}

pub(crate) fn create(line: Line<Create>) -> Result<Administered, Failure> {
    let Create { stackstate, name, subject, expiration, out, admin } = line.flags;
    let action = Action::Create { new: new_token(name, subject, expiration)?, out: out.out };
    administered(stackstate, admin, action)
}

pub(crate) fn list(line: Line<List>) -> Result<Administered, Failure> {
    administered(line.flags.stackstate, line.flags.admin, Action::List)
}

pub(crate) fn delete(line: Line<Delete>) -> Result<Administered, Failure> {
    let Delete { stackstate, id, name, admin } = line.flags;
    administered(stackstate, admin, Action::Delete(which(id, name, &line.operands)?))
}

fn which(id: Option<i64>, name: Option<String>, operands: &[OsString]) -> Result<Which, Failure> {
    match (name, id, operands) {
        (Some(name), None, []) => Ok(Which::Named(name)),
        (None, Some(id), []) => Ok(Which::Id(id)),
        // It may be a token, so it is not shown.
        (None, None, [word]) => word.to_str().and_then(parse_id).map(Which::Id).ok_or_else(|| {
            Failure::usage("delete expects the ID of a token, a decimal number as shown by stackstate list")
        }),
        _ => Err(Failure::usage("expected one ID or --name, as shown by stackstate list")),
    }
}

pub(crate) fn bootstrap(line: Line<Bootstrap>) -> Result<Values, Failure> {
    let Bootstrap { subject, ttl, token_file, external_secret, print, .. } = line.flags;
    let print = match (external_secret, print) {
        (None, None) => Print::Values,
        (None, Some(_)) => return Err(Failure::usage("--print needs --external-secret")),
        (Some(secret), print) => match PRINT.or(print) {
            Printed::Both => Print::Both { secret },
            Printed::Secret => Print::Secret { secret },
            Printed::Values => Print::ExternalValues { secret },
        },
    };
    let needs_no_roles = subject.roles.is_empty() && matches!(print, Print::Secret { .. });
    Ok(Values {
        roles: if needs_no_roles { Vec::new() } else { roles(subject.roles)? },
        ttl: TTL.or(ttl),
        dedicated_subject: subject.dedicated_subject.unwrap_or_default(),
        token_file,
        print,
    })
}
