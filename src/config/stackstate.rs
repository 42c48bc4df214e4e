//! `stackstate`: rules of its flags.

use super::Purpose;
use super::credential::{credential, refuse_tokens_on_the_command_line};
use super::token::{self, Exec, list, no_operands};
use crate::admin::Administration;
use crate::admin::bootstrap::Bootstrap;
use crate::admin::stackstate::Action;
use crate::cli::verbs::AdminVerb;
use crate::cli::{Line, Values};
use crate::credential::Credential;
use crate::date::millis_of_day;
use crate::duration::{self, GoDuration};
use crate::error::Failure;
use crate::run::token::TokenRun;
use crate::source::IssuerConfig;
use crate::source::stackstate::exec::RunTokenConfig;
use crate::source::stackstate::{API_TOKEN, DEFAULT_API_PATH, Kind, NewToken, SERVICE_TOKEN, URL};

const DEFAULT_NAME: &str = "monitoring-token";
const DEFAULT_TTL: &str = "24h";
const CREDENTIALS: [&str; 2] = [API_TOKEN, SERVICE_TOKEN];

/// Which header the credential goes into, if its variable tells.
fn kind_of(credential: &Credential) -> Option<Kind> {
    match credential {
        Credential::Variable(SERVICE_TOKEN, _) => Some(Kind::ServiceToken),
        Credential::Variable(..) => Some(Kind::ApiToken),
        Credential::File(_) | Credential::StandardInput => None,
    }
}

fn api_path(values: &Values<'_>) -> Result<Option<String>, Failure> {
    let path = values.text("api-path")?.filter(|&path| path != DEFAULT_API_PATH);
    match path {
        Some(path) if path.contains(['?', '#']) || !path.starts_with('/') => {
            Err(values.refuse("api-path", "is no path such as /api"))
        }
        path => Ok(path.map(str::to_owned)),
    }
}

fn roles(values: &Values<'_>) -> Result<Vec<String>, Failure> {
    let roles = list(values.texts("roles")?);
    if roles.is_empty() {
        return Err(Failure::usage("no --roles given, such as stackstate-power-user"));
    }
    Ok(roles)
}

fn new_token(values: &Values<'_>, name: &str, expiry_date: Option<i64>) -> Result<NewToken, Failure> {
    let subject = values.text("dedicated-subject")?.unwrap_or_default();
    Ok(NewToken {
        name: name.to_owned(),
        roles: roles(values)?,
        expiry_date,
        dedicated_subject: subject.to_owned(),
    })
}

/// `stackstate exec`, or `check` in front of it.
pub fn exec(line: &Line, purpose: Purpose) -> Result<TokenRun, Failure> {
    let values = line.values();
    let Exec { run, url, env_name, http } = token::exec(line, purpose, URL, "stackstate")?;
    let name = values.text("name")?.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_NAME);
    let new = new_token(&values, name, None)?;
    let api_path = api_path(&values)?;
    let credential = credential(&values, &CREDENTIALS)?;
    let kind = kind_of(&credential);
    let issuer = IssuerConfig::StackState(RunTokenConfig { api_path, kind, new, env_name });
    Ok(TokenRun { credential, http, url, run, issuer })
}

/// `stackstate create|list|delete`.
pub fn administration(verb: AdminVerb, line: &Line) -> Result<(Administration, Action), Failure> {
    let values = line.values();
    refuse_tokens_on_the_command_line(&values, &CREDENTIALS.join(" or "))?;
    let action = match verb {
        AdminVerb::Create => {
            no_operands(line)?;
            let name = values.text("name")?.unwrap_or_default();
            if name.is_empty() {
                return Err(Failure::usage("no --name given"));
            }
            Action::Create { new: new_token(&values, name, expiration(&values)?)?, out: values.path("out")? }
        }
        AdminVerb::List => {
            no_operands(line)?;
            Action::List
        }
        AdminVerb::Delete => Action::Delete { id: id(line)? },
    };
    Ok((token::administration(&values, URL, &CREDENTIALS)?, action))
}

/// What a verb needs besides: the API's path, and the credential's kind if its variable tells.
pub fn access(line: &Line, administration: &Administration) -> Result<(String, Option<Kind>), Failure> {
    let path = api_path(&line.values())?.unwrap_or_else(|| DEFAULT_API_PATH.to_owned());
    Ok((path, kind_of(&administration.credential)))
}

fn expiration(values: &Values<'_>) -> Result<Option<i64>, Failure> {
    let day = values.text("expiration")?.filter(|day| !day.is_empty());
    day.map(|day| millis_of_day(day).ok_or_else(|| values.refuse("expiration", "is no day (YYYY-MM-DD)")))
        .transpose()
}

fn id(line: &Line) -> Result<i64, Failure> {
    let values = line.values();
    let operands: Option<Vec<&str>> = line.operands.iter().map(|word| word.to_str()).collect();
    let given = match (values.text("id")?, operands.unwrap_or_default().as_slice()) {
        (Some(id), []) if line.operands.is_empty() => id,
        (None, [word]) => word,
        _ => return Err(Failure::usage("give one ID, as stackstate list shows it")),
    };
    given.parse().map_err(|_| Failure::usage("delete takes the ID of a token, a whole number"))
}

/// `stackstate bootstrap`.
pub fn bootstrap(line: &Line) -> Result<Bootstrap, Failure> {
    let values = line.values();
    no_operands(line)?;
    let secret = values.text("external-secret")?;
    if secret.is_some_and(|name| !is_kubernetes_name(name)) {
        return Err(values.refuse("external-secret", "is no name of a Kubernetes object"));
    }
    let ttl = values.text("ttl")?.unwrap_or(DEFAULT_TTL);
    if !is_ttl(ttl) {
        return Err(values.refuse("ttl", "is no duration such as 24h or 7d"));
    }
    Ok(Bootstrap {
        // The Secret has the token only.
        roles: if secret.is_some() { list(values.texts("roles")?) } else { roles(&values)? },
        ttl: ttl.to_owned(),
        token_file: values.path("token-file")?,
        external_secret: secret.map(str::to_owned),
    })
}

/// Go's durations above zero, and days.
fn is_ttl(text: &str) -> bool {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    match duration::parse(text) {
        Some(GoDuration::NotNegative(duration)) => !duration.is_zero(),
        Some(GoDuration::Negative) => false,
        None => days.is_some_and(|days| days > 0),
    }
}

/// A DNS subdomain (RFC 1123), as names of Kubernetes objects are.
fn is_kubernetes_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.iter().all(|&b| inner(b) || b == b'-')
                && bytes.first().is_some_and(|&b| inner(b))
                && bytes.last().is_some_and(|&b| inner(b))
        })
}
