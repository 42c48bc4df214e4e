//! The flags of the run of COMMAND, whoever issues its credential.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use super::{DEFAULT_TIMEOUT, Purpose, debug, variable};
use crate::child::{InputPolicy, OutputPolicy};
use crate::cli::{Line, Values};
use crate::csv;
use crate::deadline::{Limits, parse_script_deadline};
use crate::error::Failure;
use crate::metrics::{self, Labels};
use crate::run::RunConfig;
use crate::secret::scrub;

const DEFAULT_KILL_AFTER: Duration = Duration::from_secs(5);

/// What a run is like where no flag says otherwise.
pub struct Defaults {
    /// `-timeout`.
    pub timeout: Duration,
    /// `-output`.
    pub output: OutputPolicy,
    /// `-output` with debug on, where who debugs wants to see it all.
    pub output_of_debug: OutputPolicy,
    /// No flag changes it.
    pub input: InputPolicy,
    /// The time of a revocation; zero where nothing is revoked.
    pub revoke_limit: Duration,
}

/// The original's.
pub const OF_MAIN: Defaults = Defaults {
    timeout: DEFAULT_TIMEOUT,
    output: OutputPolicy::Discard,
    output_of_debug: OutputPolicy::Inherit,
    input: InputPolicy::Null,
    revoke_limit: Duration::ZERO,
};

/// What users of such tools expect: the command is as it would be without us, and shows no token.
pub const OF_EXEC: Defaults = Defaults {
    timeout: Duration::from_secs(60 * 60),
    output: OutputPolicy::Masked,
    output_of_debug: OutputPolicy::Masked,
    input: InputPolicy::Inherit,
    revoke_limit: Duration::from_secs(5),
};

/// The time that a run has.
fn limits(values: &Values<'_>, defaults: &Defaults) -> Result<Limits, Failure> {
    Ok(Limits {
        timeout: values.positive_duration("timeout")?.unwrap_or(defaults.timeout),
        kill_after: values.duration("kill-after")?.unwrap_or(DEFAULT_KILL_AFTER),
        revoke_limit: defaults.revoke_limit,
        script_deadline: variable("SCRIPT_DEADLINE")?.and_then(|value| parse_script_deadline(&value)),
    })
}

/// What concerns the run of COMMAND. The labels are still missing.
pub fn run(line: &Line, defaults: &Defaults, purpose: Purpose) -> Result<RunConfig, Failure> {
    let values = line.values();
    let limits = limits(&values, defaults)?;
    if line.operands.is_empty() && purpose == Purpose::Run {
        return Err(Failure::usage(format!(
            "no COMMAND given; put it after the flags: {} [flags] -- COMMAND [ARG...]",
            values.program()
        )));
    }
    if runs_setsid_without_waiting(&line.operands) {
        return Err(Failure::usage(
            "setsid: it would fork and exit 0 at once, because the command already leads a session of its own: leave setsid out, or use setsid --wait",
        ));
    }
    let debug = debug(&values)?;
    let asked_for = match values.text("output")? {
        None => defaults.output,
        Some("discard") => OutputPolicy::Discard,
        Some("inherit") => OutputPolicy::Inherit,
        Some("on-failure") => OutputPolicy::OnFailure,
        Some("masked") => OutputPolicy::Masked,
        Some(_) => return Err(values.refuse("output", "is not discard, inherit, on-failure or masked")),
    };
    // Who debugs wants to see it all; only a flag on the same command line says otherwise.
    let output = if debug && !values.is_flag("output") { defaults.output_of_debug } else { asked_for };
    Ok(RunConfig {
        command: line.operands.clone(),
        limits,
        input: defaults.input,
        output,
        die_with_parent: values.boolean("die-with-parent")?.unwrap_or(false),
        metrics_textfile: values.path("metrics-textfile")?.filter(|_| purpose == Purpose::Run),
        labels: Labels { added: metrics_labels(&values)?, ..Labels::default() },
    })
}

/// `-metrics-label`.
pub(super) fn metrics_labels(values: &Values<'_>) -> Result<Vec<(String, String)>, Failure> {
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

/// Whether COMMAND is setsid(1), which forks where it leads a process group, and then reports a success that the
/// program had no part in.
fn runs_setsid_without_waiting(words: &[OsString]) -> bool {
    let Some((program, arguments)) = words.split_first() else { return false };
    let options = arguments.iter().map(|word| word.as_bytes()).take_while(|word| word.starts_with(b"-"));
    let waits_or_says_so = |option: &[u8]| match option.strip_prefix(b"--") {
        Some(long) => !long.is_empty() && long != b"ctty",
        None => option.iter().any(|letter| b"wfhV".contains(letter)),
    };
    Path::new(program).file_name().is_some_and(|name| name == "setsid")
        && !options.into_iter().any(waits_or_says_so)
}

/// `-env-name`: a name under which a program can find a variable. The kernel takes anything without `=`.
pub fn env_name(values: &Values<'_>, default: &str) -> Result<OsString, Failure> {
    let name = values.get("env-name").map_or(default.into(), |given| given.text.to_owned());
    let bytes = name.as_bytes();
    // Dashes and dots are no shell's, but Kubernetes takes them.
    let is_name = bytes.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if bytes.is_empty() || bytes[0].is_ascii_digit() || !is_name {
        return Err(values.refuse(
            "env-name",
            "is not a valid environment variable name; use letters, digits and underscores, such as SERVICE_URL",
        ));
    }
    Ok(name)
}
