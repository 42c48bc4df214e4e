//! Flag values with their origin, so that an error names what has to be mended: the flag, or the
//! variable that stood in for it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::syntax::parse_bool;
use super::tokens::{SERVICE, STS, TOKEN};
use crate::duration::{self, GoDuration};
use crate::error::{Failure, brief};

/// The flags of one command line, each with its variable as a fallback. An empty variable counts as
/// one that is not set.
pub struct Values<'a> {
    command: &'a Command,
    matches: &'a ArgMatches,
}

/// Why a text is refused that holds one.
const CONTROL_CHARACTER: &str = "holds a control character; remove it";

/// What of `text` is there by mistake, if something is.
pub(crate) fn stray_character(text: &str) -> Option<&'static str> {
    if text.chars().any(char::is_control) {
        Some(CONTROL_CHARACTER)
    } else if text.trim() != text {
        Some("begins or ends with a blank; remove it")
    } else {
        None
    }
}

/// What the values of a flag are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Go boolean.
    Boolean,
    /// A Go duration.
    Duration,
    /// A count.
    Number,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::Boolean, Kind::Duration, Kind::Number];

    /// How the help names such a value.
    pub fn value_name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOL",
            Kind::Duration => "DURATION",
            Kind::Number => "N",
        }
    }

    /// The kind of `arg`'s values; `None` is text. clap keeps nothing else of ours than the value's name.
    pub fn of(arg: &Arg) -> Option<Kind> {
        let name = arg.get_value_names()?.first()?;
        Kind::ALL.into_iter().find(|kind| name == kind.value_name())
    }

    /// Whether `text` is such a value, and if not, why.
    pub fn check(self, text: &OsStr) -> Result<(), &'static str> {
        let (fits, why) = match self {
            Kind::Boolean => (parse_bool(text).is_some(), "is no boolean (true or false)"),
            Kind::Duration => {
                let duration = text.to_str().and_then(duration::parse);
                (duration.is_some(), "is no duration (250ms, 5s, 1m30s)")
            }
            Kind::Number => {
                (text.to_str().is_some_and(|text| text.parse::<u32>().is_ok()), "is no number (0, 1, 2, …)")
            }
        };
        if fits { Ok(()) } else { Err(why) }
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

    fn arg(&self) -> Option<&Arg> {
        self.command.get_arguments().find(|arg| arg.get_id() == self.name)
    }

    fn kind(&self) -> Option<Kind> {
        self.arg().and_then(Kind::of)
    }

    /// The flag or variable, for messages.
    pub fn origin(&self) -> String {
        match self.arg().and_then(Arg::get_env).filter(|_| self.from_variable) {
            Some(variable) => variable.to_string_lossy().into_owned(),
            None => self.arg().map_or_else(|| format!("-{}", self.name), spelled),
        }
    }
}

/// A flag as the documentation writes it: the original's and those of a run have one dash, those of service
/// tokens two.
pub(super) fn spelled(arg: &Arg) -> String {
    let has_two = matches!(arg.get_help_heading(), Some(SERVICE | TOKEN | STS)) || arg.get_short().is_some();
    let name = arg.get_long().unwrap_or_default();
    if has_two { format!("--{name}") } else { format!("-{name}") }
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

    /// Whether this command has the flag `-name` at all.
    pub fn has(&self, name: &str) -> bool {
        self.command.get_arguments().any(|arg| arg.get_id() == name)
    }

    /// The value of `-name`, or of its variable. To ask for a flag that the command does not have is a
    /// mistake of ours.
    pub fn get(&self, name: &'static str) -> Option<Given<'a>> {
        debug_assert!(self.has(name), "{} has no flag -{name}", self.program());
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

    /// A text, which a flag must not leave empty: a script whose variable is empty is told so.
    pub fn text(&self, name: &'static str) -> Result<Option<&'a str>, Failure> {
        match self.text_or_empty(name)? {
            Some("") => Err(self.empty(name)),
            text => Ok(text),
        }
    }

    /// A text that may be empty. No value of ours can hold a control character: a file that was made on Windows
    /// leaves `\r`.
    pub fn text_or_empty(&self, name: &'static str) -> Result<Option<&'a str>, Failure> {
        let Some(given) = self.get(name) else { return Ok(None) };
        let text = given.text.to_str().ok_or_else(|| given.refuse("is not valid UTF-8"))?;
        if text.chars().any(char::is_control) {
            return Err(given.refuse(CONTROL_CHARACTER));
        }
        Ok(Some(text))
    }

    /// A text that may be empty, and that no blank around it belongs to.
    pub fn word(&self, name: &'static str) -> Result<Option<&'a str>, Failure> {
        let text = self.text_or_empty(name)?;
        match text.and_then(stray_character) {
            Some(why) => Err(self.refuse(name, why)),
            None => Ok(text),
        }
    }

    fn empty(&self, name: &'static str) -> Failure {
        let origin = self.get(name).map(|given| given.origin()).unwrap_or_default();
        Failure::usage(format!("empty value for {origin}: give a value or leave the flag out"))
    }

    /// The texts of a flag that may be repeated.
    pub fn texts(&self, name: &'static str) -> Result<Vec<&'a str>, Failure> {
        debug_assert!(self.has(name), "{} has no flag -{name}", self.program());
        let Some(given) = self.get(name) else { return Ok(Vec::new()) };
        let many = self.matches.try_get_many::<OsString>(name).ok().flatten().into_iter().flatten();
        many.map(|text| match text.to_str() {
            Some("") => Err(self.empty(name)),
            text => text.ok_or_else(|| given.refuse("is not valid UTF-8")),
        })
        .collect()
    }

    /// A path; an empty one is refused, and one with control characters, which nobody means.
    pub fn path(&self, name: &'static str) -> Result<Option<PathBuf>, Failure> {
        self.get(name)
            .map(|given| {
                if given.text.is_empty() {
                    return Err(Failure::usage(format!(
                        "{}: the path is empty; give one, or leave the flag out",
                        given.origin()
                    )));
                }
                if given.text.as_bytes().iter().any(u8::is_ascii_control) {
                    return Err(given.refuse(CONTROL_CHARACTER));
                }
                Ok(PathBuf::from(given.text))
            })
            .transpose()
    }

    /// The value of `-name`, if it is one of this kind.
    fn checked(&self, name: &'static str, kind: Kind) -> Result<Option<Given<'a>>, Failure> {
        let Some(given) = self.get(name) else { return Ok(None) };
        debug_assert_eq!(given.kind(), Some(kind), "-{name}");
        kind.check(given.text).map_err(|why| given.refuse(why))?;
        Ok(Some(given))
    }

    /// A Go boolean.
    pub fn boolean(&self, name: &'static str) -> Result<Option<bool>, Failure> {
        Ok(self.checked(name, Kind::Boolean)?.and_then(|given| parse_bool(given.text)))
    }

    /// A Go duration of zero or more.
    pub fn duration(&self, name: &'static str) -> Result<Option<Duration>, Failure> {
        let Some(given) = self.checked(name, Kind::Duration)? else { return Ok(None) };
        match given.text.to_str().and_then(duration::parse) {
            Some(GoDuration::Negative) => Err(given.refuse("is below zero")),
            Some(GoDuration::NotNegative(duration)) => Ok(Some(duration)),
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
        let given = self.checked(name, Kind::Number)?;
        Ok(given.and_then(|given| given.text.to_str()?.parse().ok()))
    }

    /// The error for the value of `-name`, which is shown: not for secrets.
    pub fn invalid(&self, name: &'static str, why: &str) -> Failure {
        let given = self.get(name);
        let (text, origin) = given.map(|given| (brief(given.text), given.origin())).unwrap_or_default();
        Failure::usage(format!("invalid value \"{text}\" for {origin}: {why}"))
    }

    /// The error for the value of `-name`.
    pub fn refuse(&self, name: &'static str, why: &str) -> Failure {
        match self.get(name) {
            Some(given) => given.refuse(why),
            None => Failure::usage(format!("-{name} {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::flags;

    #[test]
    fn each_value_has_the_kind_that_it_is_read_as() {
        for (name, kind) in [
            ("timeout", Some(Kind::Duration)),
            ("retries", Some(Kind::Number)),
            ("exchange", Some(Kind::Boolean)),
            ("machine", None),
        ] {
            let command = flags::main_command();
            assert_eq!(command.get_arguments().find(|arg| arg.get_id() == name).map(Kind::of), Some(kind));
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "monitoring-token has no flag -retry")]
    fn asking_for_a_flag_that_the_command_lacks_panics() {
        let mut command = flags::main_command();
        let matches = command.try_get_matches_from_mut(["monitoring-token"]).unwrap();
        let _ = Values::new(&command, &matches).get("retry");
    }
}
