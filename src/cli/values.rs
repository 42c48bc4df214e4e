//! Flag values with their origin, so that an error names what has to be mended: the flag, or the
//! variable that stood in for it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::syntax::parse_bool;
use crate::duration::{self, GoDuration};
use crate::error::{Failure, brief};

/// The flags of one command line, each with its variable as a fallback. An empty variable counts as
/// one that is not set.
pub struct Values<'a> {
    command: &'a Command,
    matches: &'a ArgMatches,
}

/// Whether `text` is a value of the kind that a flag's help names (`BOOL`, `DURATION`, `N`; any other name
/// stands for text), and if not, why.
pub fn check(kind: &str, text: &OsStr) -> Result<(), &'static str> {
    let sound = match kind {
        "BOOL" => parse_bool(text).is_some(),
        "DURATION" => text.to_str().and_then(duration::parse).is_some(),
        "N" => text.to_str().is_some_and(|text| text.parse::<u32>().is_ok()),
        _ => true,
    };
    match kind {
        _ if sound => Ok(()),
        "BOOL" => Err("is no boolean (true or false)"),
        "DURATION" => Err("is no duration (250ms, 5s, 1m30s)"),
        _ => Err("is no number"),
    }
}

/// A value, and where it came from.
pub struct Given<'a> {
    command: &'a Command,
    name: &'static str,
    /// The text that was given.
    pub text: &'a OsStr,
    /// Whether the variable gave it.
    pub from_variable: bool,
}

impl Given<'_> {
    /// The error of a value that cannot be used; shows the value, so not for secrets.
    pub fn refuse(&self, why: &str) -> Failure {
        Failure::usage(format!("{}: {} {why}", self.origin(), brief(self.text)))
    }

    /// The flag or variable, for messages.
    pub fn origin(&self) -> String {
        let arg = self.command.get_arguments().find(|arg| arg.get_id() == self.name);
        match arg.and_then(Arg::get_env).filter(|_| self.from_variable) {
            Some(variable) => variable.to_string_lossy().into_owned(),
            None => format!("-{}", self.name),
        }
    }
}

impl<'a> Values<'a> {
    /// Reads from what clap has matched.
    pub fn new(command: &'a Command, matches: &'a ArgMatches) -> Values<'a> {
        Values { command, matches }
    }

    /// What stands before the flags, such as `monitoring-token gafaelfawr exec`.
    pub fn program(&self) -> &'a str {
        self.command.get_bin_name().unwrap_or_else(|| self.command.get_name())
    }

    /// The value of `-name`, or of its variable.
    pub fn get(&self, name: &'static str) -> Option<Given<'a>> {
        let text = self.matches.try_get_one::<OsString>(name).ok().flatten()?.as_os_str();
        let from_variable = self.matches.value_source(name) == Some(ValueSource::EnvVariable);
        (!from_variable || !text.is_empty()).then_some(Given {
            command: self.command,
            name,
            text,
            from_variable,
        })
    }

    /// Whether `-name` itself was given, and not only its variable.
    pub fn is_flag(&self, name: &'static str) -> bool {
        self.get(name).is_some_and(|given| !given.from_variable)
    }

    /// A text.
    pub fn text(&self, name: &'static str) -> Result<Option<&'a str>, Failure> {
        self.get(name)
            .map(|given| given.text.to_str().ok_or_else(|| given.refuse("is not UTF-8")))
            .transpose()
    }

    /// The texts of a flag that may be repeated.
    pub fn texts(&self, name: &'static str) -> Result<Vec<&'a str>, Failure> {
        let many = self.matches.try_get_many::<OsString>(name).ok().flatten().into_iter().flatten();
        many.map(|text| text.to_str().ok_or_else(|| self.refuse(name, "is not UTF-8"))).collect()
    }

    /// A path; empty is refused.
    pub fn path(&self, name: &'static str) -> Result<Option<PathBuf>, Failure> {
        self.get(name)
            .map(|given| {
                if given.text.is_empty() {
                    return Err(Failure::usage(format!("{}: an empty path", given.origin())));
                }
                Ok(PathBuf::from(given.text))
            })
            .transpose()
    }

    /// The value of `-name`, if it is one of this kind.
    fn checked(&self, name: &'static str, kind: &str) -> Result<Option<Given<'a>>, Failure> {
        let Some(given) = self.get(name) else { return Ok(None) };
        check(kind, given.text).map_err(|why| given.refuse(why))?;
        Ok(Some(given))
    }

    /// A Go boolean.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, Failure> {
        Ok(self.checked(name, "BOOL")?.and_then(|given| parse_bool(given.text)))
    }

    /// A Go duration of zero or more.
    pub fn duration(&self, name: &'static str) -> Result<Option<Duration>, Failure> {
        let Some(given) = self.checked(name, "DURATION")? else { return Ok(None) };
        match given.text.to_str().and_then(duration::parse) {
            Some(GoDuration::Negative) => Err(given.refuse("is below zero")),
            Some(GoDuration::Positive(duration)) => Ok(Some(duration)),
            None => Ok(None),
        }
    }

    /// A Go duration above zero.
    pub fn positive_duration(&self, name: &'static str) -> Result<Option<Duration>, Failure> {
        match self.duration(name)? {
            Some(Duration::ZERO) => Err(self.refuse(name, "must be above zero")),
            duration => Ok(duration),
        }
    }

    /// A count.
    pub fn number(&self, name: &'static str) -> Result<Option<u32>, Failure> {
        let given = self.checked(name, "N")?;
        Ok(given.and_then(|given| given.text.to_str()?.parse().ok()))
    }

    /// The error for the value of `-name`.
    pub fn refuse(&self, name: &'static str, why: &str) -> Failure {
        match self.get(name) {
            Some(given) => given.refuse(why),
            None => Failure::usage(format!("-{name} {why}")),
        }
    }
}
