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

pub use flags::main_command;
pub use parse::{Line, Stop, parse_untyped};
pub(crate) use parse::{asks_for_json, command, finished, log_format, parse, raw_values};
pub(crate) use token::{
    AdminFlags, EXEC_ENV_NAME, EXEC_OUTPUT, EXEC_TIMEOUT, ExecFlags, FORMAT, Format, LIFETIME, RotateFlags,
};
pub(crate) use values::PROGRAM;
pub(crate) use values::described;
