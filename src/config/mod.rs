//! From flags and environment to configuration: all defaults, all rules between flags. Nothing below
//! reads the environment.

mod credential;
pub mod gafaelfawr;
mod http;
pub mod key;
mod key_text;
mod locate;
mod run;
pub mod stackstate;
mod sts;
mod token;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::Values;
use crate::cli::syntax::{DEBUG_FLAG, LOG_FORMAT_FLAG, LOG_FORMAT_VARIABLE};
use crate::cli::tokens::VERBOSE;
use crate::cli::values::stray_character;
use crate::error::Failure;
use crate::log::LogFormat;
pub use locate::locate_run;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// A variable that is set and not empty. One that cannot be decoded must not pass for one that is not set: a
/// proxy would be bypassed, a credential be missing.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    // It may hold a secret, so it is not shown.
    value.into_string().map(Some).map_err(|_| Failure::usage(format!("{name}: not valid UTF-8")))
}

/// A variable that is set and not empty, whatever bytes it holds.
fn path_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The same for one that no control character and no blank around it can belong to.
fn clean_variable(name: &str) -> Result<Option<String>, Failure> {
    let value = variable(name)?;
    match value.as_deref().and_then(stray_character) {
        Some(why) => Err(Failure::usage(format!("{name}: {why}"))),
        None => Ok(value),
    }
}

/// How failures are told.
pub fn log_format(values: &Values<'_>) -> Result<LogFormat, Failure> {
    // The variable counts on commands without the flag, too.
    let given = if values.has(LOG_FORMAT_FLAG) { values.text(LOG_FORMAT_FLAG)? } else { None };
    match given {
        None => variable(LOG_FORMAT_VARIABLE).map(|_| log_format_of_refused(None)),
        Some("text") => Ok(LogFormat::Text),
        Some("json") => Ok(LogFormat::Json),
        Some(_) => Err(values.refuse(LOG_FORMAT_FLAG, "is neither text nor json")),
    }
}

/// The same for a line that is refused, whose `-log-format` this is: the fault that is told is another one.
pub fn log_format_of_refused(flag: Option<&str>) -> LogFormat {
    let given = flag.map(str::to_owned).or_else(|| variable(LOG_FORMAT_VARIABLE).ok().flatten());
    if given.as_deref() == Some("json") { LogFormat::Json } else { LogFormat::Text }
}

/// Whether what happens is shown, too.
pub fn debug(values: &Values<'_>) -> Result<bool, Failure> {
    let is_on = |flag| Ok(values.has(flag) && values.boolean(flag)?.unwrap_or(false));
    Ok(is_on(DEBUG_FLAG)? || is_on(VERBOSE)?)
}

/// What a line is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be run.
    Run,
    /// To be checked: it needs no COMMAND, and leaves neither metrics nor results.
    Check,
}
