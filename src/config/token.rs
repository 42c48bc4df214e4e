//! Rules of the flags that `gafaelfawr` and `stackstate` share.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::run;
use super::{Purpose, variable};
use crate::child::{InputPolicy, OutputPolicy};
use crate::cli::flags::HttpFlags;
use crate::cli::values::{Given, parse_base_url, variable_name};
use crate::cli::{EXEC_ENV_NAME, EXEC_OUTPUT, EXEC_TIMEOUT, ExecFlags, Line};
use crate::failure::{Failure, Reason, Stage, shell_word};
use crate::issuer::credential::{Credential, one_word};
use crate::issuer::{IssuerConfig, Site};
use crate::metrics::Labels;
use crate::run::RunConfig;
use crate::run::token::TokenRun;
use crate::secret::{overwrite_variable, scrub_name};

const REVOKE_LIMIT: Duration = Duration::from_secs(5);

/// The run of `exec`, or of `check` in front of it.
pub(super) fn exec(
    flags: ExecFlags,
    line: Line<()>,
    purpose: Purpose,
    issuer: impl FnOnce(HttpFlags, &RunConfig) -> Result<(Site, IssuerConfig), Failure>,
) -> Result<TokenRun, Failure> {
    let ExecFlags { env_name, http, timeout, output, run: flags } = flags;
    let mut run = run::run(flags, EXEC_TIMEOUT.or(timeout), line.operands, purpose)?;
    run.limits.revoke_limit = REVOKE_LIMIT;
    let (site, issuer) = issuer(http, &run)?;
    // The defaults that users of similar tools expect: the command behaves as without this program, and shows no token.
    let run = RunConfig {
        input: InputPolicy::Inherit,
        output: run::output(output, &EXEC_OUTPUT, line.debug.then_some(OutputPolicy::Masked)),
        labels: labels(run.labels.added, issuer.service(), Some(&site.url), issuer.owner()),
        ..run
    };
    let env_name = env_name.map_or(Ok(EXEC_ENV_NAME.into()), |name| name.read(variable_name))?;
    Ok(TokenRun { site, run, issuer, env_name })
}

/// The labels of a token's metrics. The `owner` distinguishes the tokens of an issuer.
pub(crate) fn labels(
    added: Vec<(String, String)>,
    service: &str,
    url: Option<&Url>,
    owner: (&'static str, &str),
) -> Labels {
    let issuer = url.map_or("", |url| url.as_str().trim_end_matches('/'));
    Labels {
        machine: String::new(),
        service: service.to_owned(),
        token: vec![("issuer", scrub_name(issuer)), (owner.0, scrub_name(owner.1))],
        added,
    }
}

/// The flags that were given, for the command lines in messages: each with a space before it.
pub(super) fn flags(given: &[(&str, Option<&OsStr>)]) -> String {
    let shown = |value: &OsStr| shell_word(&value.display().to_string()).into_owned();
    given.iter().filter_map(|(name, value)| Some(format!(" {name} {}", shown((*value)?)))).collect()
}

/// The text of a flag, unless it comes from the flag's variable, which the next command line has, too.
pub(super) fn on_command_line<T>(given: Option<&Given<T>>) -> Option<&OsStr> {
    given.filter(|given| given.is_flag()).map(|given| given.text.as_os_str())
}

/// The base URL of the service: from the flag, from `variable`, or from a context of `sts`.
pub(super) fn base_url(
    given: Option<Given<Url>>,
    variable: &str,
    context: Option<(&str, &str)>,
) -> Result<Url, Failure> {
    match (given, context) {
        (Some(url), _) => Ok(url.value),
        (None, Some((url, origin))) => {
            parse_base_url(OsStr::new(url)).map_err(|why| Failure::usage(format!("{origin}: {why}")))
        }
        (None, None) => Err(Failure::usage(format!(
            "missing URL: set {variable} or --url to the base URL of the service"
        ))),
    }
}

/// The credential from `--admin-token-file`, from the variable in `variables` that is set, or else `other`. Overwrites
/// the variables in the environment block that the kernel shows.
pub(super) fn credential(
    file: Option<PathBuf>,
    variables: &[&'static str],
    other: Option<Credential>,
) -> Result<Credential, Failure> {
    let mut found = Vec::new();
    for name in variables {
        if let Some(token) = variable(name)? {
            overwrite_variable(name);
            found.push((name, token));
        }
    }
    if let Some(path) = file {
        return Ok(Credential::File(path));
    }
    match found.as_slice() {
        [] => other.ok_or_else(|| {
            let names = crate::failure::or_list(variables);
            let message = format!("no admin token: set {names}, or use --admin-token-file FILE");
            Failure::failed(Stage::Sign, Reason::CredentialMissing, message)
        }),
        [(name, token)] => Ok(Credential::Variable(name, one_word(token.trim(), name)?)),
        many => {
            let names: Vec<&str> = many.iter().map(|(name, _)| **name).collect();
            Err(Failure::usage(format!("more than one credential is set: {}; set one", names.join(", "))))
        }
    }
}
