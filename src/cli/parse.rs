//! From the words of a command line to the flags of its command.

use std::ffi::{OsStr, OsString};

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Args, Command, Parser};

use super::syntax::{self, FlagsEnd, LOG_FORMAT_FLAG, LOG_FORMAT_VARIABLE};
use super::values::{self, described};
use crate::failure::Failure;
use crate::go::flag::parse_bool;
use crate::issuer::locate::SERVICE_URL;
use crate::issuer::stackstate::SKIP_SSL;
use crate::log::LogFormat;

/// A command with flags of its own.
pub(crate) trait CommandLine: Parser + Args {
    /// The words that call it.
    const PROGRAM: &'static str;
    /// Where its flags end.
    const END: FlagsEnd = FlagsEnd::DoubleDash;

    /// What its flags say of the lines on stderr.
    fn diagnostics(&self) -> Diagnostics {
        Diagnostics::default()
    }
}

/// Says by which words the command of these flags is called, where its flags end, and what they say of the lines on
/// stderr.
macro_rules! command_line {
    ($flags:ty, $program:literal $(, $end:ident)? $(, |$self:ident| $diagnostics:expr)?) => {
        impl CommandLine for $flags {
            const PROGRAM: &'static str = $program;
            $(const END: FlagsEnd = FlagsEnd::$end;)?
            $(fn diagnostics(&$self) -> Diagnostics { $diagnostics })?
        }
    };
}
pub(super) use command_line;

/// What flags say of the lines on stderr.
#[derive(Clone, Copy, Default)]
pub(crate) struct Diagnostics {
    /// Whether what happens is shown.
    pub(crate) debug: bool,
    /// How failures are told; `None` if no flag says it.
    pub(crate) format: Option<LogFormat>,
}

/// A command line: flags, with their variables as fallback, and operands (POSIX, 12.1).
pub struct Line<F> {
    /// The flags.
    pub flags: F,
    /// The words that are neither flags nor their values, in their order.
    pub operands: Vec<OsString>,
}

/// Why there is nothing to do for a command line.
pub enum Stop {
    /// It asks for its help.
    Help,
    /// It asks for this text.
    Print(String),
    /// Something is wrong with it.
    Refused {
        /// What.
        failure: Failure,
        /// How this is told.
        format: LogFormat,
    },
    /// What it asks for has failed.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure)
    }
}

/// What `F` defines.
pub(crate) fn command<F: CommandLine>() -> Command {
    finished(F::command().name(F::PROGRAM.rsplit(' ').next().unwrap_or_default()), F::PROGRAM)
}

/// What all commands share: Go's rules on repeated flags, `-help`, no surprises.
pub(super) fn finished(command: Command, program: &str) -> Command {
    command
        .bin_name(program)
        .args_override_self(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .next_line_help(false)
        .term_width(100)
}

/// Parses `args` (without the program's name) by Go's rules and the flags of `F`.
pub(crate) fn parse<F: CommandLine>(args: Vec<OsString>) -> Result<Line<F>, Stop> {
    let line = parse_untyped(command::<F>(), args, F::END).map_err(|stop| match stop {
        Stop::Help => Stop::Print(described(command::<F>).render_help().to_string()),
        stop => stop,
    });
    let Line { flags: mut matches, operands } = line?;
    let flags = F::from_arg_matches_mut(&mut matches);
    let flags = flags.map_err(|error| Failure::usage(values::message(&error, F::PROGRAM)))?;
    Ok(Line { flags, operands })
}

/// The same for any command.
pub fn parse_untyped(
    mut command: Command,
    args: Vec<OsString>,
    end: FlagsEnd,
) -> Result<Line<ArgMatches>, Stop> {
    // `build` adds -help, so that the scanner knows it, too.
    command.build();
    let (split, wrong) = syntax::scan(&command, args, end);
    let refused = |command: &Command, failure| {
        let format = format_of_refused(&split.flags, syntax::is_of_sts(command));
        Err(Stop::Refused { failure, format })
    };
    if let Some(failure) = wrong {
        return refused(&command, failure);
    }
    let takes_operands = command.has_subcommands() || command.get_positionals().next().is_some();
    if !takes_operands && !split.operands.is_empty() {
        // They may be tokens, so they are not shown.
        let verb = command.get_bin_name().unwrap_or_default().trim_start_matches("monitoring-token ");
        let message = format!("{verb} takes only flags; {verb} -help lists them");
        return refused(&command, Failure::usage(message));
    }
    let name = command.get_name().to_owned();
    let words = || std::iter::once(OsStr::new(&name)).chain(split.flags.iter().map(OsString::as_os_str));
    let mut matches = command.try_get_matches_from_mut(words());
    // Whoever has none of these variables does not pay for looking.
    if matches.as_ref().is_err_and(clap::Error::use_stderr)
        && command.get_arguments().any(has_foreign_variable)
    {
        let without = |arg: Arg| if has_foreign_variable(&arg) { arg.env(Resettable::Reset) } else { arg };
        command = command.mut_args(without);
        matches = command.try_get_matches_from_mut(words());
    }
    match matches {
        Ok(flags) => Ok(Line { flags, operands: split.operands }),
        Err(error) if error.kind() == ErrorKind::DisplayHelp => Err(Stop::Help),
        Err(error) if !error.use_stderr() => Err(Stop::Print(error.to_string())),
        Err(error) => {
            let message = values::message(&error, command.get_bin_name().unwrap_or_default());
            refused(&command, Failure::usage(message))
        }
    }
}

/// Whether the variable of `arg` counts as not set: it is empty, or another program's boolean, which may be anything
/// else there (`SERVICE_URL` of the ndt clients is a URL).
fn has_foreign_variable(arg: &Arg) -> bool {
    let Some(name) = arg.get_env() else { return false };
    let is_foreign = |value: &OsStr| {
        value.is_empty() || ((name == SERVICE_URL || name == SKIP_SSL) && parse_bool(value).is_none())
    };
    std::env::var_os(name).is_some_and(|value| is_foreign(&value))
}

/// How failures are told where `flags` could not be read: the fault that is told is another one.
pub(crate) fn format_of_refused(flags: &[OsString], is_of_sts: bool) -> LogFormat {
    let last = |name: &str| {
        let value = |flag: &OsString| {
            flag.to_str()?.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
        };
        flags.iter().rev().find_map(value)
    };
    let variable = || std::env::var(LOG_FORMAT_VARIABLE).ok().filter(|value| !value.is_empty());
    match last(LOG_FORMAT_FLAG).or_else(variable).as_deref() {
        Some("json") => LogFormat::Json,
        None if is_of_sts && last("output").as_deref() == Some("json") => LogFormat::Sts,
        _ => LogFormat::Text,
    }
}
