//! Turns flags and environment into the configuration of a run, and into what is needed to reach an issuer. No later code
//! reads the environment.

pub(crate) mod gafaelfawr;
mod http;
mod key_text;
mod locate;
pub(crate) mod run;
pub(crate) mod stackstate;
mod sts;
pub(crate) mod token;

use std::path::PathBuf;

use crate::cli::values::stray_character;
use crate::failure::Failure;
pub(crate) use key_text::may_hold_a_secret;
pub(crate) use locate::locate_run;

/// A variable that is set and not empty. One that is not valid UTF-8 is an error: treating it as unset would bypass a
/// proxy or lose a credential.
fn variable(name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = std::env::var_os(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    // It may hold a secret, so it is not shown.
    value.into_string().map(Some).map_err(|_| Failure::usage(format!("{name}: not valid UTF-8")))
}

/// A variable that is set and not empty. It may hold any bytes.
fn path_variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// As [`variable`], but control characters, and whitespace around the value, are an error.
fn clean_variable(name: &str) -> Result<Option<String>, Failure> {
    let value = variable(name)?;
    match value.as_deref().and_then(stray_character) {
        Some(why) => Err(Failure::usage(format!("{name}: {why}"))),
        None => Ok(value),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Run,
    /// To check it: COMMAND is optional, and neither metrics nor cache are written.
    Check,
}
