//! `stackstate`: rules of its flags.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;

use super::credential::{credential, refuse_tokens_on_the_command_line};
use super::http::http;
use super::sts::Context;
use super::token::{self, DEFAULT_LIFETIME, Exec, base_url, no_operands};
use super::{Purpose, path_variable};
use crate::admin::Administration;
use crate::admin::bootstrap::{Bootstrap, Print};
use crate::admin::rotate::stackstate::{Config as RotationConfig, Expiry};
use crate::admin::rotate::{IssuerConfig as RotationIssuer, Rotation};
use crate::admin::stackstate::{Action, Which};
use crate::cli::syntax::parse_bool;
use crate::cli::values::Given;
use crate::cli::verbs::AdminVerb;
use crate::cli::{Line, Values};
use crate::credential::Credential;
use crate::csv;
use crate::date::millis_of_day;
use crate::error::Failure;
use crate::http::HttpConfig;
use crate::run::token::TokenRun;
use crate::source::IssuerConfig;
use crate::source::stackstate::exec::RunTokenConfig;
use crate::source::stackstate::{API_TOKEN, DEFAULT_API_PATH, K8S_TOKEN, Kind, NewToken, SERVICE_TOKEN, URL};

const DEFAULT_NAME: &str = "monitoring-token";
const DEFAULT_TTL: &str = "24h";
const CREDENTIALS: [&str; 3] = [API_TOKEN, SERVICE_TOKEN, K8S_TOKEN];

/// How the installation is reached: flags and variables, and what they leave open from a context of `sts`.
struct Access {
    url: Url,
    /// If it is not the usual one.
    api_path: Option<String>,
    http: HttpConfig,
    credential: Credential,
    /// The kind of the credential, if its origin tells.
    kind: Option<Kind>,
}

fn access(values: &Values<'_>) -> Result<Access, Failure> {
    refuse_tokens_on_the_command_line(values, &CREDENTIALS.join(" or "))?;
    refuse_flags_of_sts(values)?;
    let context = context(values)?.unwrap_or_default();
    context.check()?;
    let url = base_url(values, URL, context.url.as_deref().map(|url| (url, context.origin.as_str())))?;
    let (other, kind) = context.credential()?.unzip();
    let credential = credential(values, &CREDENTIALS, other)?;
    let kind = match &credential {
        Credential::Variable(API_TOKEN, _) => Some(Kind::ApiToken),
        Credential::Variable(SERVICE_TOKEN, _) => Some(Kind::ServiceToken),
        Credential::Variable(..) => Some(Kind::KubernetesToken),
        Credential::Context(..) => kind,
        Credential::File(_) | Credential::StandardInput => None,
    };
    let api_path = values.text("api-path")?.map(str::to_owned).or(context.api_path.clone());
    let api_path = api_path.filter(|path| path != DEFAULT_API_PATH);
    if api_path.as_deref().is_some_and(|path| path.contains(['?', '#']) || !path.starts_with('/')) {
        return Err(values.invalid("api-path", "expected a path such as /api"));
    }
    Ok(Access { url, api_path, http: connections(values, context)?, credential, kind })
}

/// The context. One that cannot be read does not matter if nothing of it is needed.
fn context(values: &Values<'_>) -> Result<Option<Context>, Failure> {
    let has_credential = values.get("admin-token-file").is_some()
        || CREDENTIALS.iter().any(|name| path_variable(name).is_some());
    let is_needed = values.get("url").is_none()
        || !has_credential
        || values.get("context").is_some()
        || values.get("config").is_some();
    match Context::load(values) {
        Err(_) if !is_needed => Ok(None),
        context => context,
    }
}

/// Flags of `sts` whose meaning cannot be kept.
fn refuse_flags_of_sts(values: &Values<'_>) -> Result<(), Failure> {
    let skip_ssl = values.get("skip-ssl");
    if let Some(given) = skip_ssl.filter(|given| parse_bool(given.text) == Some(true)) {
        return Err(Failure::usage(format!(
            "{}: certificates are always verified; trust the server's CA with --ca-cert-path or -ca-file",
            given.origin()
        )));
    }
    if values.get("k8s-sa-token-path").is_some() {
        return Err(Failure::usage(
            "--k8s-sa-token-path: sts 3.3.6 ignores this flag; use --admin-token-file FILE",
        ));
    }
    Ok(())
}

/// `-ca-file`, or else what `sts` calls it. A path counts more than data, as in `sts`.
fn connections(values: &Values<'_>, context: Context) -> Result<HttpConfig, Failure> {
    let mut http = http(values)?;
    if http.trust.extra.is_some() {
        return Ok(http);
    }
    http.trust.extra = values.path("ca-cert-path")?;
    let given = values.get("ca-cert-base64-data");
    let origin = given.as_ref().map_or(context.origin, Given::origin);
    let data = match values.text("ca-cert-base64-data")? {
        Some(data) => Some(data.to_owned()),
        None => context.ca_base64,
    };
    if let (None, Some(data)) = (&http.trust.extra, data) {
        let pem = STANDARD.decode(data.trim());
        let pem =
            pem.map_err(|_| Failure::usage(format!("{origin}: the CA certificate is not valid base64")))?;
        http.trust.extra_pem = Some((origin, pem));
    }
    Ok(http)
}

fn roles(values: &Values<'_>) -> Result<Vec<String>, Failure> {
    let mut roles = Vec::new();
    for list in values.texts("roles")? {
        let list = csv::fields(list);
        roles.extend(list.ok_or_else(|| values.invalid("roles", "a quotation mark is not closed"))?);
    }
    if roles.is_empty() {
        return Err(Failure::usage("missing --roles, for example stackstate-power-user"));
    }
    if roles.iter().any(|role| role.chars().any(char::is_control)) {
        return Err(values.invalid("roles", "a role must not contain control characters"));
    }
    Ok(roles)
}

fn dedicated_subject(values: &Values<'_>) -> Result<String, Failure> {
    // sts takes an empty one for none.
    let subject = values.text_or_empty("dedicated-subject")?.unwrap_or_default();
    if subject.chars().any(char::is_control) {
        return Err(values.invalid("dedicated-subject", "must not contain control characters"));
    }
    Ok(subject.to_owned())
}

fn new_token(values: &Values<'_>, name: &str, expiry_date: Option<i64>) -> Result<NewToken, Failure> {
    let (roles, dedicated_subject) = (roles(values)?, dedicated_subject(values)?);
    Ok(NewToken { name: name.to_owned(), roles, expiry_date, dedicated_subject })
}

/// `stackstate exec`, or `check` in front of it.
pub fn exec(line: &Line, purpose: Purpose) -> Result<TokenRun, Failure> {
    let values = line.values();
    let name = values.text("name")?.unwrap_or(DEFAULT_NAME);
    let new = new_token(&values, name, None)?;
    let Access { url, api_path, http, credential, kind } = access(&values)?;
    let Exec { run, env_name } = token::exec(line, purpose, "stackstate", &url, ("name", name))?;
    let issuer = IssuerConfig::StackState(RunTokenConfig { api_path, kind, new, env_name });
    Ok(TokenRun { credential, http, url, run, issuer })
}

/// A line of `create`, `list` or `delete`.
pub struct Administered {
    pub administration: Administration,
    pub api_path: String,
    /// The kind of the credential, if its origin tells.
    pub kind: Option<Kind>,
    pub action: Action,
}

/// `stackstate create|list|delete`.
pub fn administration(verb: AdminVerb, line: &Line) -> Result<Administered, Failure> {
    let values = line.values();
    refuse_tokens_on_the_command_line(&values, &CREDENTIALS.join(" or "))?;
    let action = match verb {
        AdminVerb::Create => {
            no_operands(line)?;
            let Some(name) = values.text("name")? else { return Err(Failure::usage("missing --name")) };
            Action::Create { new: new_token(&values, name, expiration(&values)?)?, out: values.path("out")? }
        }
        AdminVerb::List => {
            no_operands(line)?;
            Action::List
        }
        AdminVerb::Delete => Action::Delete(which(line)?),
    };
    let (format, timeout) = (token::format(&values)?, token::timeout(&values)?);
    let Access { url, api_path, http, credential, kind } = access(&values)?;
    let api_path = api_path.unwrap_or_else(|| DEFAULT_API_PATH.to_owned());
    let administration = Administration { url, format, timeout, http, credential };
    Ok(Administered { administration, api_path, kind, action })
}

/// `stackstate rotate`.
pub fn rotation(line: &Line) -> Result<Rotation, Failure> {
    let values = line.values();
    refuse_tokens_on_the_command_line(&values, &CREDENTIALS.join(" or "))?;
    let token::Rotate { file, renew_before, keep_old, lifetime, metrics_textfile } = token::rotate(line)?;
    let Some(name) = values.text("name")? else { return Err(Failure::usage("missing --name")) };
    let expiry = match (lifetime, expiration(&values)?) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("--lifetime and --expiration exclude each other: give one"));
        }
        (None, Some(millis)) => Expiry::At(u64::try_from(millis / 1000).unwrap_or_default()),
        (lifetime, None) => Expiry::Lifetime(lifetime.unwrap_or(DEFAULT_LIFETIME)),
    };
    let new = new_token(&values, name, None)?;
    let (format, timeout) = (token::format(&values)?, token::timeout(&values)?);
    let Access { url, api_path, http, credential, kind } = access(&values)?;
    let labels = token::labels(&values, "stackstate", &url, ("name", name))?;
    let api_path = api_path.unwrap_or_else(|| DEFAULT_API_PATH.to_owned());
    let administration = Administration { url, format, timeout, http, credential };
    let issuer = RotationIssuer::StackState(RotationConfig { api_path, kind, new, expiry });
    Ok(Rotation { administration, file, renew_before, keep_old, metrics_textfile, labels, issuer })
}

fn expiration(values: &Values<'_>) -> Result<Option<i64>, Failure> {
    let day = values.text("expiration")?;
    day.map(|day| {
        let millis = millis_of_day(day.trim());
        millis.ok_or_else(|| values.invalid("expiration", "not a valid date: expected YYYY-MM-DD"))
    })
    .transpose()
}

fn which(line: &Line) -> Result<Which, Failure> {
    let values = line.values();
    let operands: Option<Vec<&str>> = line.operands.iter().map(|word| word.to_str()).collect();
    let id = match (values.text("name")?, values.text("id")?, operands.unwrap_or_default().as_slice()) {
        (Some(name), None, []) if line.operands.is_empty() => return Ok(Which::Named(name.to_owned())),
        (None, Some(id), []) if line.operands.is_empty() => id,
        (None, None, [word]) => word,
        _ => return Err(Failure::usage("expected one ID or --name, as shown by stackstate list")),
    };
    // sts reads 010 as octal and 0x10 as hexadecimal.
    let is_decimal = !id.trim_start_matches(['+', '-']).starts_with('0') || id == "0";
    id.parse().ok().filter(|_| is_decimal).map(Which::Id).ok_or_else(|| {
        Failure::usage("delete expects the ID of a token, a decimal number as shown by stackstate list")
    })
}

/// `stackstate bootstrap`.
pub fn bootstrap(line: &Line) -> Result<Bootstrap, Failure> {
    let values = line.values();
    no_operands(line)?;
    let secret = values.text("external-secret")?;
    if secret.is_some_and(|name| !is_kubernetes_name(name)) {
        return Err(values.invalid("external-secret", "not a valid name of a Kubernetes object"));
    }
    let print = match (secret, values.text("print")?) {
        (None, None) => Print::Values,
        (None, Some(_)) => return Err(Failure::usage("--print needs --external-secret")),
        (Some(name), what) => {
            let name = name.to_owned();
            match what {
                None | Some("both") => Print::Both { secret: name },
                Some("secret") => Print::Secret { secret: name },
                Some("values") => Print::ExternalValues { secret: name },
                Some(_) => return Err(values.invalid("print", "expected both, secret or values")),
            }
        }
    };
    let ttl = values.text("ttl")?.unwrap_or(DEFAULT_TTL);
    let ttl = one_unit(ttl)
        .ok_or_else(|| values.invalid("ttl", "not a valid lifetime: expected for example 24h, 90m or 7d"))?;
    let has_values = !matches!(print, Print::Secret { .. });
    Ok(Bootstrap {
        roles: if has_values || values.get("roles").is_some() { roles(&values)? } else { Vec::new() },
        ttl,
        dedicated_subject: dedicated_subject(&values)?,
        token_file: values.path("token-file")?,
        print,
    })
}

/// A lifetime as the server reads it (HOCON): one number and one unit.
fn one_unit(text: &str) -> Option<String> {
    let lifetime = token::lifetime(text)?;
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    if is_number && UNITS.iter().any(|(_, known)| *known == unit) {
        return Some(text.to_owned());
    }
    let nanos = lifetime.as_nanos();
    let (size, unit) = UNITS.into_iter().find(|(size, _)| nanos.is_multiple_of(*size))?;
    Some(format!("{}{unit}", nanos / size))
}

/// In nanoseconds, the largest first. A day is kept as it is given, but not made of hours.
const UNITS: [(u128, &str); 7] = [
    (u128::MAX, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

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

#[cfg(test)]
mod tests {
    use super::one_unit;

    #[test]
    fn a_ttl_becomes_one_number_and_one_unit() {
        for (given, expected) in [
            ("24h", Some("24h")),
            ("7d", Some("7d")),
            ("90m", Some("90m")),
            ("1.5h", Some("1.5h")),
            ("1h30m", Some("90m")),
            ("1d12h", Some("36h")),
            ("48h0m0s", Some("48h")),
            ("1m30.5s", Some("90500ms")),
            (".5h", Some("30m")),
            ("+5h", Some("5h")),
            ("1µs", Some("1us")),
            ("0", None),
            ("-1h", None),
            ("soon", None),
            ("1.5d", None),
        ] {
            assert_eq!(one_unit(given).as_deref(), expected, "{given}");
        }
    }
}
