//! Converts a command line in Go's syntax into the form that clap reads.
//!
//! One dash or two; `-name=value` or `-name value`; the value of a boolean only after `=`. In the result, every flag is
//! `--name=value`, so clap never guesses.

use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use clap::{Arg, ArgAction, Command};

use super::suggest;
use super::values::spelled;
use crate::failure::{Failure, brief};
use crate::go::flag::{Word, parse_bool};
use crate::secret::shortened;

#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// Each as `--name` or `--name=value`.
    pub flags: Vec<OsString>,
    /// The arguments that are neither flags nor their values, in order.
    pub operands: Vec<OsString>,
}

/// The only flag that accepts a boolean as its next argument.
pub const DEBUG_FLAG: &str = "logx.debug";
/// The name that `sts` has for it.
pub const VERBOSE_FLAG: &str = "verbose";
/// Sets the format of `check`, also for errors of other flags.
pub const JSON_FLAG: &str = "json";
/// Sets the format of failures, including those of other flags.
pub const LOG_FORMAT_FLAG: &str = "log-format";
/// Also read by commands that do not have the flag.
pub const LOG_FORMAT_VARIABLE: &str = "MONITORING_TOKEN_LOG_FORMAT";
/// A flag that only the commands that replace `sts` have.
pub const STS_FLAG: &str = "no-color";

/// Go's `boolFlag`: its value is only after `=`, and true without one.
fn is_boolean(arg: &Arg) -> bool {
    arg.is_require_equals_set() || !arg.get_action().takes_values()
}

/// `-logx.debug`, which the original requires a value for: here it is a boolean, or takes one as the next argument.
fn may_take_word(arg: &Arg) -> bool {
    arg.get_long() == Some(DEBUG_FLAG)
}

fn find<'a>(command: &'a Command, name: &[u8]) -> Option<&'a Arg> {
    let is_name = |long: &str| long.as_bytes() == name;
    let named = |arg: &&Arg| {
        arg.get_long().is_some_and(is_name)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.into_iter().any(is_name))
    };
    let lettered = |arg: &&Arg| {
        arg.get_short().is_some_and(|short| short.is_ascii() && name == [u8::try_from(short).unwrap_or(0)])
    };
    command.get_arguments().find(named).or_else(|| command.get_arguments().find(lettered))
}

/// Splits `args` by the flags of `command`; also returns the first error. The arguments after an error are still read,
/// because they may set the format to report it in.
///
/// The flags of a command that runs another one end at `--` or at the first argument that is not a flag, as in Go; those
/// of the others end at `--`, and before it, operands and flags may be mixed.
pub fn scan(command: &Command, args: impl IntoIterator<Item = OsString>) -> (Split, Option<Failure>) {
    let end_at_word = command.get_positionals().any(Arg::is_trailing_var_arg_set);
    let mut args = args.into_iter().peekable();
    let mut split = Split { flags: Vec::new(), operands: Vec::new() };
    let mut wrong = None;
    let mut bare_boolean = None;
    while let Some(word) = args.next() {
        let kind = Word::read(&word);
        if kind == Word::EndOfFlags {
            split.operands.extend(args);
            break;
        }
        if kind == Word::Operand {
            if let Some(flag) = bare_boolean.take()
                && parse_bool(&word).is_some()
            {
                wrong = wrong.or(Some(refuse_boolean_word(flag, &word)));
            }
            split.operands.push(word);
            if end_at_word {
                split.operands.extend(args);
                break;
            }
            continue;
        }
        for word in expand(command, word) {
            bare_boolean = None;
            match read_flag(command, &word, &mut args) {
                Ok((arg, flag)) => {
                    bare_boolean = arg.get_long().filter(|_| {
                        is_boolean(arg) && !may_take_word(arg) && !flag.as_bytes().contains(&b'=')
                    });
                    split.flags.push(flag);
                    if matches!(arg.get_action(), ArgAction::Help | ArgAction::Version) {
                        // As in Go, the rest is not parsed.
                        return (split, wrong);
                    }
                }
                Err(failure) => wrong = wrong.or(Some(failure)),
            }
        }
    }
    (split, wrong)
}

fn unknown_flag(command: &Command, name: &[u8]) -> String {
    let given = String::from_utf8_lossy(name);
    let known = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long);
    let closest = suggest::closest(&given, known).map(|flag| format!("did you mean -{flag}?"));
    let program = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let hint = closest.unwrap_or_else(|| format!("{program} -help lists the flags"));
    format!("unknown flag -{}; {hint}", brief(OsStr::from_bytes(name)))
}

/// `-service-url true` would run a program called true, and succeed without testing anything.
fn refuse_boolean_word(flag: &str, word: &OsStr) -> Failure {
    let word = word.display();
    Failure::usage(format!(
        "-{flag} {word}: a boolean flag takes its value after =: use -{flag}={word}, or -- {word} to run a command called {word}"
    ))
}

/// The part of `word` that may be shown: the part after `=` may be a secret.
fn without_value(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    match bytes.iter().position(|&byte| byte == b'=') {
        Some(at) => format!("{}…", brief(OsStr::from_bytes(&bytes[..=at]))),
        None => brief(word),
    }
}

/// Parses the flag `word`, and its value if that is the next argument. Returns `--name=value`.
fn read_flag<'a>(
    command: &'a Command,
    word: &OsStr,
    args: &mut Peekable<impl Iterator<Item = OsString>>,
) -> Result<(&'a Arg, OsString), Failure> {
    let Word::Flag { name, value } = Word::read(word) else {
        /// It may be PEM: this is less than its header.
        const SHOWN_CHARS: usize = 20;
        let shown = shortened(without_value(word), SHOWN_CHARS);
        let message = format!("invalid flag syntax: {shown}; a flag has one dash or two, and a name");
        return Err(Failure::usage(message));
    };
    let mut value = value.map(OsStr::to_owned);
    let Some(arg) = find(command, name) else {
        return Err(Failure::usage(unknown_flag(command, name)));
    };
    let long = arg.get_long().unwrap_or_default();
    match arg.get_action() {
        // Go prints the help, whatever the value.
        ArgAction::Help => value = None,
        ArgAction::Version if value.is_some() => {
            return Err(Failure::usage(format!("flag -{long} takes no value")));
        }
        _ => {}
    }
    if !is_boolean(arg) {
        value = value.or_else(|| args.next());
        if value.is_none() {
            return Err(Failure::usage(format!("flag {} needs a value", spelled(arg))));
        }
    } else if value.is_none() && may_take_word(arg) {
        value = args.next_if(|next| parse_bool(next).is_some());
    }
    Ok((arg, long_word(arg, value.as_deref())))
}

/// Splits combined short flags such as `-vojson`, as `sts` (package pflag) does; returns other words unchanged. Only
/// for the commands that replace `sts`.
fn expand(command: &Command, word: OsString) -> Vec<OsString> {
    let is_cluster = is_of_sts(command) && word.as_bytes().get(1).is_some_and(|&byte| byte != b'-');
    let name_end = word.as_bytes().iter().position(|&byte| byte == b'=').unwrap_or(word.len());
    if !is_cluster || find(command, &word.as_bytes()[1..name_end]).is_some() {
        return vec![word];
    }
    cluster(command, &word.as_bytes()[1..]).unwrap_or_else(|| vec![word])
}

fn cluster(command: &Command, mut letters: &[u8]) -> Option<Vec<OsString>> {
    let mut words = Vec::new();
    while let Some((letter, rest)) = letters.split_first() {
        let arg = find(command, std::slice::from_ref(letter))?;
        if is_boolean(arg) && rest.first() != Some(&b'=') {
            words.push(long_word(arg, None));
            letters = rest;
            continue;
        }
        let value = rest.strip_prefix(b"=").unwrap_or(rest);
        words.push(long_word(arg, (!rest.is_empty()).then_some(OsStr::from_bytes(value))));
        break;
    }
    Some(words)
}

fn long_word(arg: &Arg, value: Option<&OsStr>) -> OsString {
    let mut word = format!("--{}", arg.get_long().unwrap_or_default()).into_bytes();
    if let Some(value) = value {
        word.push(b'=');
        word.extend_from_slice(value.as_bytes());
    }
    OsString::from_vec(word)
}

pub(super) fn is_of_sts(command: &Command) -> bool {
    command.get_arguments().any(|arg| arg.get_long() == Some(STS_FLAG))
}
