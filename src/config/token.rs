//! What the flags of `gafaelfawr` and `stackstate` have in common.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::run::{OF_EXEC, env_name, metrics_labels, run};
use super::url::check_host;
use super::{DEFAULT_TIMEOUT, Purpose};
use crate::admin::output::Format;
use crate::cli::values::stray_character;
use crate::cli::{Line, Values};
use crate::duration::{self, GoDuration};
use crate::error::Failure;
use crate::metrics::Labels;
use crate::run::RunConfig;
use crate::secret::scrub;

/// A shorter one would be replaced by every run of a timer.
const MIN_ROTATED_LIFETIME: Duration = Duration::from_secs(300);
/// How long a token lives that is rotated, unless the flags say it.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The flags of `exec` that all issuers share.
pub struct Exec {
    /// The run of the command.
    pub run: RunConfig,
    /// The variable that receives the token.
    pub env_name: OsString,
}

/// Reads `exec`, or `check` in front of it. `service` is a label of the metrics, `whose` tells the tokens of
/// that service apart.
pub fn exec(
    line: &Line,
    purpose: Purpose,
    service: &str,
    url: &Url,
    whose: (&'static str, &str),
) -> Result<Exec, Failure> {
    let values = line.values();
    let run = run(line, &OF_EXEC, purpose)?;
    let labels = labels(&values, service, url, whose)?;
    Ok(Exec { run: RunConfig { labels, ..run }, env_name: env_name(&values, "SERVICE_TOKEN")? })
}

/// The labels of a token's metrics. `service` is its issuer, `whose` tells the tokens of that service apart.
pub fn labels(
    values: &Values<'_>,
    service: &str,
    url: &Url,
    whose: (&'static str, &str),
) -> Result<Labels, Failure> {
    let issuer = url.as_str().trim_end_matches('/').to_owned();
    Ok(Labels {
        machine: String::new(),
        service: service.to_owned(),
        token: vec![("issuer", scrub(&issuer)), (whose.0, scrub(whose.1))],
        added: metrics_labels(values)?,
    })
}

/// The flags of `rotate` that all issuers share.
pub struct Rotate {
    pub file: PathBuf,
    pub renew_before: Option<Duration>,
    pub keep_old: bool,
    pub lifetime: Option<Duration>,
    pub metrics_textfile: Option<PathBuf>,
}

/// Reads them.
pub fn rotate(line: &Line) -> Result<Rotate, Failure> {
    let values = line.values();
    no_operands(line)?;
    let duration = |name: &'static str, expected: &str| {
        let text = values.text(name)?;
        text.map(|text| lifetime(text).ok_or_else(|| values.invalid(name, expected))).transpose()
    };
    let Some(file) = values.path("token-file")? else {
        return Err(Failure::usage("missing --token-file: the file that holds the token"));
    };
    let lifetime = duration("lifetime", "not a valid lifetime: expected for example 12h, 7d or 1d12h")?;
    if lifetime.is_some_and(|lifetime| lifetime < MIN_ROTATED_LIFETIME) {
        return Err(values.invalid("lifetime", "expected at least 5m"));
    }
    Ok(Rotate {
        file,
        renew_before: duration("renew-before", "not a valid time: expected for example 12h, 7d or 1d12h")?,
        keep_old: values.boolean("keep-old")?.unwrap_or(false),
        lifetime,
        metrics_textfile: values.path("metrics-textfile")?,
    })
}

/// The base URL of the service: the flag, its `variable`, or else the one of a context of `sts`.
pub fn base_url(values: &Values<'_>, variable: &str, context: Option<(&str, &str)>) -> Result<Url, Failure> {
    let given = values.get("url");
    let (text, origin) = match (&given, context) {
        (Some(given), _) => (given.text.to_str(), given.origin()),
        (None, Some((url, origin))) => (Some(url), origin.to_owned()),
        (None, None) => {
            return Err(Failure::usage(format!(
                "missing URL: set {variable} or --url to the base URL of the service"
            )));
        }
    };
    if let Some(why) = text.and_then(stray_character) {
        return Err(Failure::usage(format!("{origin}: the URL {why}")));
    }
    let url = text.and_then(|text| Url::parse(text.trim_end_matches('/')).ok());
    // What does not belong there may be a secret, so the value is not shown.
    match url {
        Some(url) if !url.username().is_empty() || url.password().is_some() => Err(Failure::usage(format!(
            "{origin}: the URL must not contain a user or a password; use the base URL alone"
        ))),
        Some(url) if url.query().is_some() || url.fragment().is_some() => Err(Failure::usage(format!(
            "{origin}: the URL must not contain a query or a fragment; use the base URL alone"
        ))),
        Some(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            check_host(&url).map_err(|why| Failure::usage(format!("{origin}: {why}")))?;
            Ok(url)
        }
        _ => Err(Failure::usage(format!("{origin}: expected an http:// or https:// URL"))),
    }
}

/// `--output`.
pub fn format(values: &Values<'_>) -> Result<Format, Failure> {
    match values.text("output")? {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(_) => Err(values.invalid("output", "expected text or json")),
    }
}

/// `-timeout` of the administrators' verbs.
pub fn timeout(values: &Values<'_>) -> Result<Duration, Failure> {
    Ok(values.positive_duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT))
}

/// A lifetime: days such as `7d`, a Go duration, or both.
pub fn lifetime(text: &str) -> Option<Duration> {
    const DAY: u64 = 24 * 3600;
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) if !days.is_empty() && days.bytes().all(|byte| byte.is_ascii_digit()) => {
            (days.parse::<u64>().ok()?, rest)
        }
        _ => (0, text),
    };
    let rest = match (rest, days) {
        ("", 1..) => Duration::ZERO,
        _ => match duration::parse(rest)? {
            GoDuration::NotNegative(rest) => rest,
            GoDuration::Negative => return None,
        },
    };
    let whole = Duration::from_secs(days.checked_mul(DAY)?).checked_add(rest)?;
    // As much as Go's durations can hold.
    (!whole.is_zero() && whole.as_nanos() <= i64::MAX as u128).then_some(whole)
}

/// Refuses operands on a verb that takes none. They may be tokens, so they are not shown.
pub fn no_operands(line: &Line) -> Result<(), Failure> {
    if line.operands.is_empty() {
        return Ok(());
    }
    let values = line.values();
    let verb = values.program().trim_start_matches("monitoring-token ");
    Err(Failure::usage(format!("{verb} takes only flags; {verb} -help lists them")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_days_and_go_durations() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        for (text, expected) in [
            ("7d", hours(168)),
            ("1d12h", hours(36)),
            ("0d1h", hours(1)),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("", None),
            ("d", None),
            ("1.5d", None),
            ("-1d", None),
            ("1d-1h", None),
            ("0", None),
            ("0d", None),
            ("7", None),
            ("7days", None),
            ("106752d", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(lifetime(text), expected, "{text}");
        }
    }
}
