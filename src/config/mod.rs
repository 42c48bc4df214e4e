//! From flags and environment to configuration: all defaults, all rules between flags. Nothing below
//! reads the environment.

pub(crate) mod gafaelfawr;
mod http;
pub(crate) mod key;
mod key_text;
mod locate;
mod run;
pub(crate) mod stackstate;
mod sts;
mod token;

use std::path::PathBuf;

use crate::cli::syntax::LOG_FORMAT_VARIABLE;
use crate::cli::values::stray_character;
use crate::cli::{Diagnostics, format_of_refused};
use crate::failure::Failure;
use crate::log::LogFormat;
pub(crate) use locate::locate_run;

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
pub(crate) fn log_format(diagnostics: Diagnostics) -> Result<LogFormat, Failure> {
    match diagnostics.format {
        Some(format) => Ok(format),
        // The variable counts on commands without the flag, too.
        None => variable(LOG_FORMAT_VARIABLE).map(|_| format_of_refused(&[], false)),
    }
}

/// What a line is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be run.
    Run,
    /// To be checked: it needs no COMMAND, and leaves neither metrics nor results.
    Check,
}
