//! From the first argument to the command that it selects.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::admin::rotate::Rotation;
use crate::check::{self, Checked};
use crate::child::lookup;
use crate::cli::flags::{CheckFlags, ExplainFlags, MainFlags, ReportFlags};
use crate::cli::syntax::scan;
use crate::cli::{
    self, CheckExec, CommandLine, Diagnostics, FlagsEnd, GafaelfawrVerb, KeyVerb, Line, StackStateVerb, Stop,
    Verb, format_of_refused, suggest,
};
use crate::config::refused::{asks_for_json, write_metrics};
use crate::config::stackstate::Administered;
use crate::config::{self, Purpose};
use crate::failure::{ExitStatus, Failure, Reason, brief, system_error};
use crate::issuer::gafaelfawr::is_token_key;
use crate::log::Log;
use crate::run::token::TokenRun;
use crate::stdout::{print, report};
use crate::sys::signal::Signals;
use crate::{admin, explain};

/// Executes `args` (without the program name), and reports failures on stderr.
pub fn main(args: Vec<OsString>) -> ExitStatus {
    // Before anything else: disable core dumps, and close /proc/PID/environ and mem to other users (prctl(2),
    // PR_SET_DUMPABLE). exec resets this for the command.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let mut log = Log::default();
    let result = match dispatch(args, &mut log) {
        Ok(status) => Ok(status),
        Err(Stop::Help) => Ok(ExitStatus::SUCCESS),
        Err(Stop::Print(text)) => print(&text).map(|()| ExitStatus::SUCCESS),
        Err(Stop::Refused { failure, format, .. }) => {
            log = Log::start(format, false);
            Err(failure)
        }
        Err(Stop::Failed(failure)) => Err(failure),
    };
    result.unwrap_or_else(|failure| {
        log.failure(&failure);
        failure.status
    })
}

fn dispatch(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    // Subcommands are recognized only as the very first argument.
    let Some(first) = args.first().cloned() else { return run(args, log) };
    if let Some(failure) = mistyped(&first) {
        let format = format_of_refused(&[], false);
        return Err(Stop::Refused { failure, format, words: Vec::new() });
    }
    let Some((_, act)) = SUBCOMMANDS.iter().find(|(name, _)| first == *name) else { return run(args, log) };
    args.remove(0);
    act(args, log)
}

fn run(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    let read = |line| config::locate_run(line, MainFlags::PROGRAM, Purpose::Run);
    let (run, signals) = configure(args, log, read)?;
    Ok(run.execute(&signals, *log))
}

/// Parses and reads a command line. If it cannot be run, writes the metrics that it asks for.
fn configure<F: CommandLine, T>(
    args: Vec<OsString>,
    log: &mut Log,
    read: impl FnOnce(Line<F>) -> Result<T, Failure>,
) -> Result<(T, Signals), Stop> {
    let noted = |failure, words: &[OsString]| write_metrics(failure, &cli::command::<F>(), F::PROGRAM, words);
    let (mut line, signals) = begin(args, log).map_err(|stop| match stop {
        Stop::Refused { failure, format, words } => {
            Stop::Refused { failure: noted(failure, &words), format, words }
        }
        stop => stop,
    })?;
    let words = std::mem::take(&mut line.words);
    let what = read(line).map_err(|failure| noted(failure, &words))?;
    Ok((what, signals))
}

/// Accepted in place of a subcommand.
const HELP: &str = "help";
/// First arguments that are not the command to run, and their actions, which get the arguments after them.
const SUBCOMMANDS: [(&str, Act); 6] = [
    ("check", check),
    ("explain", explain),
    ("key", key),
    ("gafaelfawr", gafaelfawr),
    ("stackstate", stackstate),
    (HELP, help),
];

type Act = fn(Vec<OsString>, &mut Log) -> Result<ExitStatus, Stop>;

fn is_subcommand(word: &OsStr) -> bool {
    SUBCOMMANDS.iter().any(|(name, _)| word == *name)
}

/// Rewrites `help COMMAND [VERB]` to `COMMAND [VERB] -help`.
fn help(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    args.push("-help".into());
    let first = &args[0];
    if args.len() > 1 && !is_subcommand(first) {
        let hint = suggestion(first, SUBCOMMANDS.map(|(name, _)| name));
        return Err(Failure::usage(format!("help: unknown command {}{hint}", brief(first))).into());
    }
    dispatch(args, log)
}

/// The failure for a first argument that is nearly a subcommand, unless a program has that name.
fn mistyped(word: &OsStr) -> Option<Failure> {
    let bytes = word.as_bytes();
    if bytes.starts_with(b"-") || bytes.contains(&b'/') || is_subcommand(word) {
        return None;
    }
    let name = suggest::closest(word.to_str()?, SUBCOMMANDS.map(|(name, _)| name))?;
    lookup::find(word)
        .is_err()
        .then(|| Failure::usage(format!("unknown command {}; did you mean {name}?", brief(word))))
}

/// A suggestion for a mistyped `word`, as the end of a message.
fn suggestion<'a>(word: &OsStr, known: impl IntoIterator<Item = &'a str>) -> String {
    let closest = word.to_str().and_then(|word| suggest::closest(word, known));
    closest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn check(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    if let Some((check, args)) = check_of(&args) {
        return check(args, log);
    }
    let take = |CheckFlags { main, report }| (main, report);
    let read = |line| config::locate_run(line, CheckFlags::PROGRAM, Purpose::Check);
    print_check(args, log, take, read, Checked::of_locate, check::locate)
}

/// Checks a command line, and prints the result: also of one that is invalid.
fn print_check<F: CommandLine, G, T>(
    args: Vec<OsString>,
    log: &mut Log,
    take: fn(F) -> (G, ReportFlags),
    read: impl FnOnce(Line<G>) -> Result<T, Failure>,
    refused: fn(Failure) -> Checked,
    check: fn(T, &Signals, Log) -> Checked,
) -> Result<ExitStatus, Stop> {
    let (Line { flags, operands, words }, signals) = begin(args, log).map_err(|stop| match &stop {
        Stop::Refused { failure, words, .. } if asks_for_json(words) => {
            print(&refused(failure.clone()).json()).err().map_or(stop, Stop::Failed)
        }
        _ => stop,
    })?;
    let (flags, report) = take(flags);
    let what = read(Line { flags, operands, words });
    let checked = what.map_or_else(refused, |what| check(what, &signals, *log));
    if report.json.unwrap_or_default() {
        print(&checked.json())?;
    } else if checked.failure.as_ref().is_none_or(|failure| failure.reason != Reason::Usage) {
        print(&checked.table())?;
    }
    checked.failure.map_or(Ok(ExitStatus::SUCCESS), |failure| Err(failure.into()))
}

fn explain(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    let line = parse::<ExplainFlags>(args, log)?;
    print(&explain::text(&line.operands)?)?;
    Ok(ExitStatus::SUCCESS)
}

fn gafaelfawr(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    use config::gafaelfawr::{create, delete, exec, list, rotation};
    let (verb, args) = verb(args, log)?;
    let act = |(administration, action), signals: &Signals, _| {
        admin::gafaelfawr::act(administration, action, signals)
    };
    match verb {
        GafaelfawrVerb::Create => administer(args, log, create, act),
        GafaelfawrVerb::List => administer(args, log, list, act),
        GafaelfawrVerb::Delete => administer(keys_last(args), log, delete, act),
        GafaelfawrVerb::Exec => run_exec(args, log, exec),
        GafaelfawrVerb::Rotate => rotate(args, log, rotation),
    }
}

fn stackstate(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    use config::stackstate::{bootstrap, create, delete, exec, list, rotation};
    let (verb, args) = verb(args, log)?;
    let act = |Administered { administration, api_path, kind, action }: Administered,
               signals: &Signals,
               _| { admin::stackstate::act(administration, &api_path, kind, action, signals) };
    match verb {
        StackStateVerb::Create => administer(args, log, create, act),
        StackStateVerb::List => administer(args, log, list, act),
        StackStateVerb::Delete => administer(args, log, delete, act),
        StackStateVerb::Bootstrap => {
            administer(args, log, bootstrap, |values, signals, _| values.print(signals))
        }
        StackStateVerb::Exec => run_exec(args, log, exec),
        StackStateVerb::Rotate => rotate(args, log, rotation),
    }
}

/// Executes a verb that runs no command, and prints its result.
fn administer<F: CommandLine, T>(
    args: Vec<OsString>,
    log: &mut Log,
    read: impl FnOnce(Line<F>) -> Result<T, Failure>,
    act: impl FnOnce(T, &Signals, Log) -> Result<String, Failure>,
) -> Result<ExitStatus, Stop> {
    let (what, signals) = configure(args, log, read)?;
    let text = act(what, &signals, *log)?;
    // From here on, signals end the program: a reader may stop reading a long list.
    signals.release();
    report(&text)?;
    Ok(ExitStatus::SUCCESS)
}

fn rotate<F: CommandLine>(
    args: Vec<OsString>,
    log: &mut Log,
    read: impl FnOnce(Line<F>) -> Result<Rotation, Failure>,
) -> Result<ExitStatus, Stop> {
    let (rotation, signals) = configure(args, log, read)?;
    let (text, written) = rotation.run(&signals, *log)?;
    signals.release();
    report(&text).map_err(|failure| written.unprinted(failure))?;
    Ok(ExitStatus::SUCCESS)
}

/// Parses the command line of an `exec`.
type ReadExec<F> = fn(Line<F>, Purpose) -> Result<TokenRun, Failure>;

fn run_exec<F: CommandLine>(
    args: Vec<OsString>,
    log: &mut Log,
    read: ReadExec<F>,
) -> Result<ExitStatus, Stop> {
    let (run, signals) = configure(args, log, |line| read(line, Purpose::Run))?;
    Ok(run.execute(&signals, *log))
}

/// `check` in front of `exec`.
fn check_exec<F: CommandLine>(
    mut args: Vec<OsString>,
    log: &mut Log,
    service: &str,
    read: ReadExec<F>,
) -> Result<ExitStatus, Stop> {
    if args.first().is_none_or(|word| word != "exec") {
        return Err(Failure::usage(format!("check {service} must be followed by exec")).into());
    }
    args.remove(0);
    let take = |CheckExec { exec, report }: CheckExec<F>| (exec, report);
    print_check(args, log, take, |line| read(line, Purpose::Check), Checked::of_token, check::token)
}

fn check_named(service: &OsString) -> Option<Act> {
    match service.as_bytes() {
        b"gafaelfawr" => Some(|args, log| check_exec(args, log, "gafaelfawr", config::gafaelfawr::exec)),
        b"stackstate" => Some(|args, log| check_exec(args, log, "stackstate", config::stackstate::exec)),
        _ => None,
    }
}

/// The check that the words after `check` select, if it is one of an `exec`, and its arguments. In `check --json
/// gafaelfawr exec …`, the flags are moved after `exec`. To check a program called gafaelfawr, put `--` before it.
fn check_of(args: &[OsString]) -> Option<(Act, Vec<OsString>)> {
    let (first, rest) = args.split_first()?;
    if let Some(check) = check_named(first) {
        return Some((check, rest.to_vec()));
    }
    let mut command = cli::command::<CheckFlags>();
    command.build();
    let (split, _) = scan(&command, args.iter().cloned(), FlagsEnd::FirstWord);
    let (name, rest) = split.operands.split_first()?;
    let (exec, rest) = rest.split_first()?;
    let check = check_named(name).filter(|_| exec == "exec")?;
    let at = args.len() - split.operands.len();
    if at == 0 || args[at - 1] == "--" {
        return None;
    }
    let moved = [exec].into_iter().chain(&args[..at]).chain(rest);
    Some((check, moved.cloned().collect()))
}

/// A key may begin with a dash. Arguments that look like a key and not like a flag are moved after `--`.
fn keys_last(args: Vec<OsString>) -> Vec<OsString> {
    if args.iter().any(|word| word == "--") {
        return args;
    }
    let dashed_key =
        |word: &OsString| word.to_str().is_some_and(|text| text.starts_with('-') && is_token_key(text));
    let (keys, mut rest): (Vec<_>, Vec<_>) = args.into_iter().partition(dashed_key);
    if !keys.is_empty() {
        rest.push("--".into());
        rest.extend(keys);
    }
    rest
}

fn key(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    let (verb, args) = verb::<KeyVerb>(args, log)?;
    let action = match verb {
        KeyVerb::Generate => config::key::generate(parse(args, log)?),
        KeyVerb::Public => config::key::public(&parse(args, log)?),
        KeyVerb::Inspect => config::key::inspect(&parse(args, log)?),
    };
    print(&admin::key::act(action?)?)?;
    Ok(ExitStatus::SUCCESS)
}

/// Common start of the commands that make requests: signals are caught before anything is read.
fn begin<F: CommandLine>(args: Vec<OsString>, log: &mut Log) -> Result<(Line<F>, Signals), Stop> {
    let signals = Signals::catch();
    let line = parse(args, log)?;
    match signals {
        Ok(signals) => Ok((line, signals)),
        Err(error) => {
            let message = format!("cannot catch signals: {}", system_error(&error));
            let failure = Failure::local(Reason::System, message);
            Err(Stop::Refused { failure, format: log.format(), words: line.words })
        }
    }
}

fn parse<F: CommandLine>(args: Vec<OsString>, log: &mut Log) -> Result<Line<F>, Stop> {
    let line = cli::parse::<F>(args)?;
    start_log(line.flags.diagnostics(), log)?;
    Ok(line)
}

fn start_log(diagnostics: Diagnostics, log: &mut Log) -> Result<(), Failure> {
    *log = Log::start(config::log_format(diagnostics)?, diagnostics.debug);
    Ok(())
}

/// The verb of a subcommand, and the arguments after it.
fn verb<V: Verb>(mut args: Vec<OsString>, log: &mut Log) -> Result<(V, Vec<OsString>), Stop> {
    if args.first().is_some_and(|word| word == HELP) {
        args.remove(0);
        args.push("-help".into());
    }
    let named = |word: &OsString| V::from_str(word.to_str()?, false).ok();
    if let Some(verb) = args.first().and_then(named) {
        args.remove(0);
        return Ok((verb, args));
    }
    let line =
        cli::parse_untyped(V::subcommand(), args, FlagsEnd::DoubleDash).map_err(|stop| match stop {
            Stop::Help => Stop::Print(V::subcommand().render_help().to_string()),
            stop => stop,
        })?;
    start_log(Diagnostics::default(), log)?;
    let expected = V::expected();
    Err(Stop::Failed(Failure::usage(match line.operands.first() {
        None => format!("missing subcommand: expected {expected}"),
        Some(word) => format!(
            "unknown subcommand of {}: {}expected {expected}{}",
            V::SUBCOMMAND,
            V::shown(word),
            suggestion(word, V::names().iter().map(String::as_str))
        ),
    })))
}
