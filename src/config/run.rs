//! The flags of the run of COMMAND, whoever issues its credential.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use super::{DEFAULT_TIMEOUT, Purpose, debug, variable};
use crate::child::OutputPolicy;
use crate::cli::{Line, Values};
use crate::csv;
use crate::deadline::{Limits, parse_script_deadline};
use crate::error::Failure;
use crate::metrics::{self, Labels};
use crate::run::RunConfig;
use crate::secret::scrub;

const DEFAULT_KILL_AFTER: Duration = Duration::from_secs(5);

/// The time that a run has.
fn limits(values: &Values<'_>, revoke_limit: Duration) -> Result<Limits, Failure> {
    Ok(Limits {
        timeout: values.positive_duration("timeout")?.unwrap_or(DEFAULT_TIMEOUT),
        kill_after: values.duration("kill-after")?.unwrap_or(DEFAULT_KILL_AFTER),
        revoke_limit,
        script_deadline: variable("SCRIPT_DEADLINE").and_then(|value| parse_script_deadline(&value)),
    })
}

/// What concerns the run of COMMAND. The labels are still missing; `revoke_limit` is zero where nothing is
/// revoked.
pub fn run(line: &Line, revoke_limit: Duration, purpose: Purpose) -> Result<RunConfig, Failure> {
    let values = line.values();
    let limits = limits(&values, revoke_limit)?;
    if line.operands.is_empty() && purpose == Purpose::Run {
        return Err(Failure::usage(format!(
            "no COMMAND given; put it after the flags: {} [flags] -- COMMAND [ARG...]",
            values.program()
        )));
    }
    let debug = debug(&values)?;
    let asked_for = match values.text("output")? {
        None | Some("discard") => OutputPolicy::Discard,
        Some("inherit") => OutputPolicy::Inherit,
        Some("on-failure") => OutputPolicy::OnFailure,
        Some(_) => return Err(values.refuse("output", "is not discard, inherit or on-failure")),
    };
    // Who debugs wants to see it all; only a flag on the same command line says otherwise.
    let output = if debug && !values.is_flag("output") { OutputPolicy::Inherit } else { asked_for };
    Ok(RunConfig {
        command: line.operands.clone(),
        limits,
        output,
        die_with_parent: values.boolean("die-with-parent")?.unwrap_or(false),
        metrics_textfile: values.path("metrics-textfile")?.filter(|_| purpose == Purpose::Run),
        labels: Labels { added: metrics_labels(&values)?, ..Labels::default() },
    })
}

/// `-metrics-label`.
fn metrics_labels(values: &Values<'_>) -> Result<Vec<(String, String)>, Failure> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let origin = values.get("metrics-label").map(|given| given.origin()).unwrap_or_default();
    for given in values.texts("metrics-label")? {
        let refuse = |why: &str| Failure::usage(format!("invalid value \"{given}\" for {origin}: {why}"));
        for label in csv::fields(given).ok_or_else(|| refuse("a quotation mark is not closed"))? {
            let (name, value) = label.split_once('=').ok_or_else(|| refuse("expected NAME=VALUE"))?;
            if !metrics::is_label_name(name) {
                return Err(refuse("a label name has letters, digits and underscores only"));
            }
            if metrics::RESERVED_LABELS.contains(&name) || name.starts_with("__") {
                return Err(refuse("this label name is reserved"));
            }
            if value.chars().any(char::is_control) {
                return Err(refuse("a label value must not contain control characters"));
            }
            if labels.iter().any(|(other, _)| other == name) {
                return Err(refuse("this label is given twice"));
            }
            labels.push((name.to_owned(), scrub(value)));
        }
    }
    Ok(labels)
}

/// `-env-name`: a name that an environment can hold.
pub fn env_name(values: &Values<'_>, default: &str) -> Result<OsString, Failure> {
    let name = values.get("env-name").map_or(default.into(), |given| given.text.to_owned());
    if name.is_empty() || name.as_bytes().iter().any(|&byte| byte == b'=' || byte == 0) {
        return Err(values.refuse("env-name", "is no name for a variable"));
    }
    Ok(name)
}
