//! The command line: command, flags, operands. Nothing here runs anything.
//!
//! [`syntax`] splits the arguments by Go's rules, clap passes each value to its parser in [`values`], and the structs
//! in [`flags`] and the other modules hold the results.

pub(crate) mod flags;
pub(crate) mod gafaelfawr;
mod parse;
pub(crate) mod stackstate;
pub(crate) mod suggest;
pub mod syntax;
mod token;
pub(crate) mod values;
mod verbs;

pub(crate) use parse::{CommandLine, Diagnostics, command, format_of_refused, parse, raw_values};
pub use parse::{Line, Stop, parse_untyped};
pub use syntax::FlagsEnd;
pub(crate) use token::{
    AdminFlags, CheckExec, EXEC_ENV_NAME, EXEC_OUTPUT, EXEC_TIMEOUT, ExecFlags, FORMAT, LIFETIME, RotateFlags,
};
pub(crate) use verbs::{GafaelfawrVerb, KeyVerb, StackStateVerb, Verb};
pub use verbs::{full_command, main_command, subcommands};
