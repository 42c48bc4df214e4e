//! The command line: which command, which flags, which operands. Shapes only; nothing here runs anything.

pub mod catalog;
pub mod flags;
mod shorts;
pub(crate) mod suggest;
pub mod syntax;
pub mod tokens;
pub mod values;
pub mod verbs;

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use crate::error::Failure;
pub use syntax::FlagsEnd;
use syntax::LOG_FORMAT_FLAG;
pub use values::Values;

/// What a command line asks for.
pub enum Parsed {
    /// Something to do.
    Line(Box<Line>),
    /// `-help` or `-version`: text for stdout.
    Print(String),
}

/// A command line: flags, with their variables as fallback, and operands (POSIX, 12.1).
pub struct Line {
    command: Command,
    matches: ArgMatches,
    /// The words that are neither flags nor their values, in their order.
    pub operands: Vec<OsString>,
}

impl Line {
    /// The flags.
    pub fn values(&self) -> Values<'_> {
        Values::new(&self.command, &self.matches)
    }
}

/// Why a command line is not taken.
pub struct Refused {
    /// What is wrong with it.
    pub failure: Failure,
    /// The last `-log-format` on it, which says how this is to be told.
    pub log_format: Option<String>,
}

/// Parses `args` (without the program's name) by Go's rules and `command`'s flags.
pub fn parse(command: Command, args: Vec<OsString>, end: FlagsEnd) -> Result<Parsed, Refused> {
    // `build` adds -help, so that the scanner knows it, too.
    let mut command = command;
    command.build();
    let (split, wrong) = syntax::scan(&command, args, end);
    let log_format = last_value(&split.flags, LOG_FORMAT_FLAG);
    if let Some(failure) = wrong {
        return Err(Refused { failure, log_format });
    }
    let name = OsString::from(command.get_name());
    match command.try_get_matches_from_mut(std::iter::once(name).chain(split.flags)) {
        Ok(matches) => Ok(Parsed::Line(Box::new(Line { command, matches, operands: split.operands }))),
        Err(error) if !error.use_stderr() => Ok(Parsed::Print(error.to_string())),
        // The scanner has checked names and values, so this is a rule between flags.
        Err(error) => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let failure = Failure::usage(line.strip_prefix("error: ").unwrap_or(line));
            Err(Refused { failure, log_format })
        }
    }
}

/// The last value that `flags` give to the flag of this name, where clap has not read them.
fn last_value(flags: &[OsString], name: &str) -> Option<String> {
    let value = |flag: &OsString| {
        flag.to_str()?.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)
    };
    flags.iter().rev().find_map(value)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definitions_are_sound() {
        super::flags::main_command().debug_assert();
        super::flags::check_command().debug_assert();
        super::flags::explain_command().debug_assert();
        super::flags::key_command().debug_assert();
        super::tokens::gafaelfawr_command().debug_assert();
        super::tokens::stackstate_command().debug_assert();
    }
}
