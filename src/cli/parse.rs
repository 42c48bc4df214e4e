//! From command-line arguments to the flags of a command.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};

use super::syntax::{self, DEBUG_FLAG, JSON_FLAG, LOG_FORMAT_FLAG, LOG_FORMAT_VARIABLE, VERBOSE_FLAG};
use super::values::{self, PROGRAM, described, is_damaged_bool, is_described};
use crate::failure::Failure;
use crate::go::flag::parse_bool;
use crate::issuer::locate::SERVICE_URL;
use crate::issuer::stackstate::SKIP_SSL;
use crate::log::LogFormat;

/// A command line: flags, with their variables as fallback, and operands (POSIX, 12.1).
pub struct Line<F> {
    pub flags: F,
    /// The arguments that are neither flags nor their values, in order.
    pub operands: Vec<OsString>,
    /// The flags on the command line, each as `--name` or `--name=value`.
    pub words: Vec<OsString>,
    /// `-logx.debug`.
    pub(crate) debug: bool,
    /// The format of the lines on stderr.
    pub(crate) format: LogFormat,
}

impl<F> Line<F> {
    /// The flags, and the rest.
    pub(crate) fn split(self) -> (F, Line<()>) {
        let Line { flags, operands, words, debug, format } = self;
        (flags, Line { flags: (), operands, words, debug, format })
    }
}

pub enum Stop {
    Help,
    Print(String),
    Refused {
        failure: Failure,
        format: LogFormat,
        /// The flags on the command line, as far as they could be read.
        words: Vec<OsString>,
    },
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

/// The clap definition of `F`.
pub(crate) fn command<F: CommandFactory>() -> Command {
    finished(F::command())
}

/// Settings of all commands: Go's rules for repeated flags, and `-help`.
pub(crate) fn finished(command: Command) -> Command {
    let command = if command.get_overridden_usage().is_none() { with_usage(command) } else { command };
    command
        .args_override_self(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .next_line_help(false)
        .term_width(100)
}

/// Gives a command that is to be described its usage line: `PROGRAM --required VALUE [flags] OPERAND`.
pub(super) fn with_usage(command: Command) -> Command {
    if !is_described() {
        return command;
    }
    let program = command.get_bin_name().unwrap_or_default();
    let mut text = program.to_owned();
    // The rule that asks for roles has an exception, so it is not clap's.
    for arg in command.get_arguments().filter(|arg| arg.is_required_set() || arg.get_long() == Some("roles"))
    {
        let value = arg.get_value_names().unwrap_or_default().join(" ");
        text += &format!(" --{} {value}", arg.get_long().unwrap_or_default());
    }
    text += " [flags]";
    for operand in command.get_positionals().filter(|operand| !operand.is_hide_set()) {
        text += &match (operand.is_trailing_var_arg_set(), program.starts_with("monitoring-token check ")) {
            (true, true) => " [-- COMMAND [ARG...]]".to_owned(),
            (true, false) => " -- COMMAND [ARG...]".to_owned(),
            (false, _) => format!(" {}", operand.get_value_names().unwrap_or_default().join(" ")),
        };
    }
    command.override_usage(text)
}

/// Parses `args` (without the program name) by Go's rules and the flags of `command`, which has those of `F`.
pub(crate) fn parse<F: FromArgMatches>(
    command: impl Fn() -> Command,
    args: Vec<OsString>,
) -> Result<Line<F>, Stop> {
    let line = parse_untyped(command(), args).map_err(|stop| match stop {
        Stop::Help => Stop::Print(described(command).render_help().to_string()),
        stop => stop,
    })?;
    let Line { flags: mut matches, operands, words, debug, format } = line;
    let flags = F::from_arg_matches_mut(&mut matches);
    let flags = flags.map_err(|error| Failure::usage(values::message(&error, PROGRAM)))?;
    Ok(Line { flags, operands, words, debug, format })
}

/// As [`parse`], for a command without a struct of flags.
pub fn parse_untyped(mut command: Command, args: Vec<OsString>) -> Result<Line<ArgMatches>, Stop> {
    // `build` adds -help, and the scanner must know it.
    command.build();
    let (split, wrong) = syntax::scan(&command, args);
    // On exec, which has no -o, --output is not a format.
    let has_format = command.get_arguments().any(|arg| arg.get_short() == Some('o'));
    let format = log_format(&split.flags, has_format && syntax::is_of_sts(&command));
    let refused = |failure| Err(Stop::Refused { failure, format, words: split.flags.clone() });
    if let Some(failure) = wrong {
        return refused(failure);
    }
    let takes_operands = command.has_subcommands() || command.get_positionals().next().is_some();
    if !takes_operands && !split.operands.is_empty() {
        // They may be tokens, so they are not shown.
        let verb = command.get_bin_name().unwrap_or_default().trim_start_matches(PROGRAM).trim_start();
        let message = format!("{verb} takes only flags; {verb} -help lists them");
        return refused(Failure::usage(message));
    }
    let name = command.get_name().to_owned();
    let words = || std::iter::once(OsStr::new(&name)).chain(split.flags.iter().map(OsString::as_os_str));
    let mut matches = command.try_get_matches_from_mut(words());
    // A process without any of these variables does not pay for the search.
    if matches.as_ref().is_err_and(clap::Error::use_stderr)
        && command.get_arguments().any(has_unusable_variable)
    {
        let without = |arg: Arg| if has_unusable_variable(&arg) { arg.env(Resettable::Reset) } else { arg };
        command = command.mut_args(without);
        matches = command.try_get_matches_from_mut(words());
    }
    match matches {
        Ok(flags) => {
            let is_set = |name| flags.try_get_one(name).is_ok_and(|value| value == Some(&true));
            let debug = is_set(DEBUG_FLAG) || is_set(VERBOSE_FLAG);
            Ok(Line { flags, operands: split.operands, words: split.flags, debug, format })
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Err(Stop::Help),
        Err(error) if !error.use_stderr() => Err(Stop::Print(error.to_string())),
        Err(error) => {
            let message = values::message(&error, command.get_bin_name().unwrap_or_default());
            refused(Failure::usage(message))
        }
    }
}

/// True if the variable of `arg` counts as not set: it is empty, or the flag is a boolean and its variable belongs to
/// another program (`SERVICE_URL` of the ndt clients is a URL). A boolean with a stray character belongs to the flag.
fn has_unusable_variable(arg: &Arg) -> bool {
    let Some(name) = arg.get_env() else { return false };
    let is_foreign = |value: &OsStr| {
        let may_be_others = name == SERVICE_URL || name == SKIP_SSL;
        value.is_empty() || (may_be_others && parse_bool(value).is_none() && !is_damaged_bool(value))
    };
    std::env::var_os(name).is_some_and(|value| is_foreign(&value))
}

/// The values of a flag in words of the form `--name=value`, which may be invalid.
pub(crate) fn raw_values<'a>(words: &'a [OsString], name: &'a str) -> impl Iterator<Item = &'a OsStr> {
    words.iter().filter_map(move |word| {
        let value = word.as_bytes().strip_prefix(b"--")?.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(OsStr::from_bytes(value))
    })
}

/// True if the words ask for JSON; the other flags may be invalid.
pub(crate) fn asks_for_json(words: &[OsString]) -> bool {
    let given =
        |word: &OsString| match word.as_bytes().strip_prefix(b"--")?.strip_prefix(JSON_FLAG.as_bytes())? {
            b"" => Some(true),
            value => parse_bool(OsStr::from_bytes(value.strip_prefix(b"=")?)),
        };
    words.iter().rev().find_map(given).unwrap_or_default()
}

/// The format of the lines on stderr. The flags may be invalid; an error in the format itself is ignored here.
///
/// With `-o json`, the commands that replace `sts` report failures in its JSON format, unless `-log-format` is given.
pub(crate) fn log_format(flags: &[OsString], is_of_sts: bool) -> LogFormat {
    let last = |name| raw_values(flags, name).filter_map(OsStr::to_str).last();
    let variable = || std::env::var(LOG_FORMAT_VARIABLE).ok().filter(|value| !value.is_empty());
    match last(LOG_FORMAT_FLAG).map(str::to_owned).or_else(variable).as_deref() {
        Some("json") => LogFormat::Json,
        None if is_of_sts && last("output") == Some("json") => LogFormat::Sts,
        _ => LogFormat::Text,
    }
}
