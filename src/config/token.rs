//! What the flags of `gafaelfawr` and `stackstate` have in common.

use std::ffi::OsString;
use std::time::Duration;

use reqwest::Url;

use super::credential::credential;
use super::http::http;
use super::run::{env_name, run};
use super::{DEFAULT_TIMEOUT, Purpose};
use crate::admin::Administration;
use crate::admin::output::Format;
use crate::cli::{Line, Values};
use crate::error::Failure;
use crate::http::HttpConfig;
use crate::metrics::Labels;
use crate::run::RunConfig;

/// The time limit of a revocation.
const REVOKE_LIMIT: Duration = Duration::from_secs(5);

/// What `exec` has whoever issues the token, but for the credential.
pub struct Exec {
    /// The run of the command.
    pub run: RunConfig,
    /// The service's base URL.
    pub url: Url,
    /// The variable that receives the token.
    pub env_name: OsString,
    /// How requests are made.
    pub http: HttpConfig,
}

/// Reads `exec`, or `check` in front of it. `url_variable` is where the base URL may be, `service` the
/// label of the metrics.
pub fn exec(line: &Line, purpose: Purpose, url_variable: &str, service: &str) -> Result<Exec, Failure> {
    let values = line.values();
    let run = run(line, REVOKE_LIMIT, purpose)?;
    let labels = Labels { machine: String::new(), service: service.to_owned() };
    Ok(Exec {
        run: RunConfig { labels, ..run },
        url: base_url(&values, url_variable)?,
        env_name: env_name(&values, "SERVICE_TOKEN")?,
        http: http(&values)?,
    })
}

/// The service's base URL.
fn base_url(values: &Values<'_>, variable: &str) -> Result<Url, Failure> {
    let Some(given) = values.get("url") else {
        return Err(Failure::usage(format!(
            "no URL: set {variable} or --url to the base URL of the service"
        )));
    };
    let url = given.text.to_str().and_then(|text| Url::parse(text.trim_end_matches('/')).ok());
    match url {
        // What does not belong there may be a secret, so it is not shown.
        Some(url) if !url.username().is_empty() || url.password().is_some() => Err(Failure::usage(format!(
            "{}: has a user or a password; give the base URL alone",
            given.origin()
        ))),
        Some(url) if url.query().is_some() || url.fragment().is_some() => {
            Err(Failure::usage(format!("{}: has a query or a fragment; give the base URL", given.origin())))
        }
        Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(Failure::usage(format!("{}: is no http or https URL", given.origin()))),
    }
}

/// What the verbs of administrators have in common.
pub fn administration(
    values: &Values<'_>,
    url: &str,
    variables: &[&'static str],
) -> Result<Administration, Failure> {
    let format = match values.text("output")? {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(_) => return Err(values.refuse("output", "is neither text nor json")),
    };
    Ok(Administration {
        url: base_url(values, url)?,
        format,
        timeout: values.positive_duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT),
        http: http(values)?,
        credential: credential(values, variables)?,
    })
}

/// Refuses operands on a verb that takes none. They may be tokens, so they are not shown.
pub fn no_operands(line: &Line) -> Result<(), Failure> {
    if line.operands.is_empty() {
        return Ok(());
    }
    let values = line.values();
    let verb = values.program().trim_start_matches("monitoring-token ");
    Err(Failure::usage(format!("{verb} takes no arguments besides flags; {verb} -help lists them")))
}

/// The parts of a list that is separated by commas, blanks around them removed.
pub fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let parts = values.into_iter().flat_map(|value| value.split(','));
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
