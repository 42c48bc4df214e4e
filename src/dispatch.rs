//! From the first word of the command line to the command that it asks for.

mod tokens;

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::admin;
use crate::check::{self, Checked};
use crate::child::lookup;
use crate::cli::verbs::KeyVerb;
use crate::cli::{self, FlagsEnd, Line, Parsed, Values, flags, suggest};
use crate::config::{self, Purpose};
use crate::error::{Failure, Reason, Stage, brief};
use crate::exit::ExitStatus;
use crate::explain;
use crate::log::Log;
use crate::signal::Signals;
use crate::stdout::{check_open, unwritten};

/// Does what `args` (without the program's name) ask for. Says what has to be said on stderr.
pub fn main(args: Vec<OsString>) -> ExitStatus {
    // Before anything else: no core dump of ours, and /proc/PID/environ and mem closed to other users
    // (prctl(2), PR_SET_DUMPABLE). The command gets its own on exec.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut log = Log::default();
    dispatch(args, &mut log).unwrap_or_else(|failure| {
        log.failure(&failure);
        failure.status
    })
}

fn dispatch(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
    // Subcommand words count only as the very first argument.
    if let Some(refused) = args.first().and_then(|word| mistyped(word)) {
        *log = Log::start(config::log_format_of_refused(None), false);
        return Err(refused);
    }
    if args.first().is_some_and(|word| word == HELP) {
        return help(args, log);
    }
    if args.first().is_some_and(|word| word == "key") {
        args.remove(0);
        return key(args, log);
    }
    if args.first().is_some_and(|word| word == "check") {
        args.remove(0);
        return check(args, log);
    }
    if args.first().is_some_and(|word| word == "explain") {
        args.remove(0);
        return explain(args, log);
    }
    if let Some(service) = args.first().and_then(tokens::Service::named) {
        args.remove(0);
        return service.dispatch(args, log);
    }
    let Some((line, signals)) = begin(flags::main_command(), args, FlagsEnd::FirstWord, log)? else {
        return Ok(ExitStatus::SUCCESS);
    };
    let run = config::locate_run(&line, Purpose::Run)?;
    // It may hold the key.
    drop(line);
    Ok(run.execute(&signals, *log))
}

/// The word that asks for help where a subcommand can stand.
const HELP: &str = "help";
/// The words that are not the command to run.
const SUBCOMMANDS: [&str; 6] = ["check", "explain", "key", "gafaelfawr", "stackstate", HELP];

/// `help COMMAND [VERB]` is `COMMAND [VERB] -help`.
fn help(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
    help_last(&mut args);
    let first = &args[0];
    if args.len() > 1 && !SUBCOMMANDS.iter().any(|name| first == name) {
        return Err(Failure::usage(format!(
            "help: unknown command {}{}",
            brief(first),
            suggestion(first, SUBCOMMANDS)
        )));
    }
    dispatch(args, log)
}

/// Turns `help` in front into a flag at the end.
fn help_last(args: &mut Vec<OsString>) {
    if args.first().is_some_and(|word| word == HELP) {
        args.remove(0);
        args.push("-help".into());
    }
}

/// The failure of a first word that is nearly a subcommand, and that no program is called.
fn mistyped(word: &OsStr) -> Option<Failure> {
    let bytes = word.as_bytes();
    if bytes.starts_with(b"-") || bytes.contains(&b'/') || SUBCOMMANDS.iter().any(|name| word == *name) {
        return None;
    }
    let name = suggest::closest(word.to_str()?, SUBCOMMANDS)?;
    lookup::find(word)
        .is_err()
        .then(|| Failure::usage(format!("unknown command {}; did you mean {name}?", brief(word))))
}

/// What `word` may have been meant to be, as the end of a message.
fn suggestion<'a>(word: &OsStr, known: impl IntoIterator<Item = &'a str>) -> String {
    let closest = word.to_str().and_then(|word| suggest::closest(word, known));
    closest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn check(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
    if let Some(service) = args.first().and_then(tokens::Service::named) {
        args.remove(0);
        return service.check(args, log);
    }
    if let Some((service, args)) = tokens::flags_before_service(&args) {
        return service.check(args, log);
    }
    let Some((line, signals)) = begin(flags::check_command(), args, FlagsEnd::FirstWord, log)? else {
        return Ok(ExitStatus::SUCCESS);
    };
    let what = config::locate_run(&line, Purpose::Check)?;
    let as_json = line.values().boolean("json")?.unwrap_or(false);
    // It may hold the key.
    drop(line);
    tell(check::locate(what, &signals, *log), as_json)
}

fn explain(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
    if let Some(line) = parse(flags::explain_command(), args, FlagsEnd::DoubleDash, log)? {
        print(&explain::text(&line.operands)?)?;
    }
    Ok(ExitStatus::SUCCESS)
}

fn tell(checked: Checked, as_json: bool) -> Result<ExitStatus, Failure> {
    print(&if as_json { checked.json() } else { checked.table() })?;
    checked.failure.map_or(Ok(ExitStatus::SUCCESS), Err)
}

/// Begins what makes requests: signals are caught before anything is read. `None` if the line only asked
/// for a text.
fn begin(
    command: clap::Command,
    args: Vec<OsString>,
    end: FlagsEnd,
    log: &mut Log,
) -> Result<Option<(Line, Signals)>, Failure> {
    let signals = Signals::catch().map_err(|error| {
        Failure::failed(Stage::Sign, Reason::System, format!("cannot catch signals: {error}"))
    })?;
    Ok(parse(command, args, end, log)?.map(|line| (line, signals)))
}

/// Parses, or prints what was asked for (`-help`, `-version`) and gives `None`.
fn parse(
    command: clap::Command,
    args: Vec<OsString>,
    end: FlagsEnd,
    log: &mut Log,
) -> Result<Option<Line>, Failure> {
    match cli::parse(command, args, end) {
        Ok(Parsed::Line(line)) => {
            start_log(&line.values(), log)?;
            Ok(Some(*line))
        }
        Ok(Parsed::Print(text)) => print(&text).map(|()| None),
        Err(refused) => {
            *log = Log::start(config::log_format_of_refused(refused.log_format.as_deref()), false);
            Err(refused.failure)
        }
    }
}

fn start_log(values: &Values<'_>, log: &mut Log) -> Result<(), Failure> {
    let format = config::log_format(values)?;
    let debug = config::debug(values);
    // A wrong value is told in that format, too.
    *log = Log::start(format, matches!(debug, Ok(true)));
    debug.map(drop)
}

/// Writes to stdout; a reader that has gone away is its own business, a full disk is not.
fn print(text: &str) -> Result<(), Failure> {
    check_open().map_err(|error| unwritten(&error))?;
    report(text)
}

/// Prints what has been done, which holds also where nobody can read it.
fn report(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

fn key(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
    help_last(&mut args);
    let command = flags::key_command();
    let verb = args.first().and_then(|word| KeyVerb::named(word));
    let verb = verb.and_then(|verb| Some((verb, command.find_subcommand(verb.name())?.clone())));
    let Some((verb, verb_command)) = verb else {
        if let Some(line) = parse(command, args, FlagsEnd::DoubleDash, log)? {
            let verbs = "expected key generate, key public or key inspect";
            return Err(Failure::usage(match line.operands.first() {
                None => format!("missing subcommand: {verbs}"),
                Some(word) => format!(
                    "unknown subcommand of key: {}; {verbs}{}",
                    brief(word),
                    suggestion(word, KeyVerb::NAMES)
                ),
            }));
        }
        return Ok(ExitStatus::SUCCESS);
    };
    args.remove(0);
    if let Some(line) = parse(verb_command, args, FlagsEnd::DoubleDash, log)? {
        print(&admin::key::act(config::key::action(verb, &line)?)?)?;
    }
    Ok(ExitStatus::SUCCESS)
}
