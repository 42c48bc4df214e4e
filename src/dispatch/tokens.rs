//! `gafaelfawr` and `stackstate`: their verbs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use super::{begin, print_checked, verb};
use crate::admin;
use crate::admin::rotate::Rotation;
use crate::check;
use crate::cli::flags::CheckFlags;
use crate::cli::syntax::scan;
use crate::cli::{self, CheckExec, CommandLine, FlagsEnd, GafaelfawrVerb, Line, StackStateVerb, Stop};
use crate::config::stackstate::Administered;
use crate::config::{self, Purpose};
use crate::error::Failure;
use crate::exit::ExitStatus;
use crate::log::Log;
use crate::run::token::TokenRun;
use crate::signal::Signals;
use crate::source::gafaelfawr::is_key;
use crate::stdout::report;

pub(super) fn gafaelfawr(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    use config::gafaelfawr::{create, delete, exec, list, rotation};
    let (verb, args) = verb(args, log)?;
    let act = |(administration, action), signals: &Signals, _| {
        admin::gafaelfawr::act(administration, action, signals)
    };
    match verb {
        GafaelfawrVerb::Create => administer(args, log, create, act),
        GafaelfawrVerb::List => administer(args, log, list, act),
        GafaelfawrVerb::Delete => administer(keys_last(args), log, delete, act),
        GafaelfawrVerb::Exec => run(args, log, exec),
        GafaelfawrVerb::Rotate => administer(args, log, rotation, Rotation::run),
    }
}

pub(super) fn stackstate(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
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
        StackStateVerb::Exec => run(args, log, exec),
        StackStateVerb::Rotate => administer(args, log, rotation, Rotation::run),
    }
}

/// Does what runs no command, and prints its text.
fn administer<F: CommandLine, T>(
    args: Vec<OsString>,
    log: &mut Log,
    read: impl FnOnce(Line<F>) -> Result<T, Failure>,
    act: impl FnOnce(T, &Signals, Log) -> Result<String, Failure>,
) -> Result<ExitStatus, Stop> {
    let (line, signals) = begin(args, log)?;
    let text = act(read(line)?, &signals, *log)?;
    // A long list may wait for a reader, who may lose patience.
    signals.release();
    report(&text)?;
    Ok(ExitStatus::SUCCESS)
}

/// What reads the line of an `exec`.
type ReadExec<F> = fn(Line<F>, Purpose) -> Result<TokenRun, Failure>;

fn run<F: CommandLine>(args: Vec<OsString>, log: &mut Log, read: ReadExec<F>) -> Result<ExitStatus, Stop> {
    let (line, signals) = begin(args, log)?;
    Ok(read(line, Purpose::Run)?.execute(&signals, *log))
}

/// `check`, in front of the line of `exec`.
fn check<F: CommandLine>(
    mut args: Vec<OsString>,
    log: &mut Log,
    service: &str,
    read: ReadExec<F>,
) -> Result<ExitStatus, Stop> {
    if args.first().is_none_or(|word| word != "exec") {
        return Err(Failure::usage(format!("check {service} must be followed by exec")).into());
    }
    args.remove(0);
    let (line, signals) = begin::<CheckExec<F>>(args, log)?;
    let CheckExec { exec: flags, report } = line.flags;
    let run = read(Line { flags, operands: line.operands }, Purpose::Check)?;
    print_checked(check::token(run, &signals, *log), report.json.unwrap_or_default())
}

type Act = fn(Vec<OsString>, &mut Log) -> Result<ExitStatus, Stop>;

/// The check of this service's `exec`.
fn check_named(service: &OsString) -> Option<Act> {
    match service.as_bytes() {
        b"gafaelfawr" => Some(|args, log| check(args, log, "gafaelfawr", config::gafaelfawr::exec)),
        b"stackstate" => Some(|args, log| check(args, log, "stackstate", config::stackstate::exec)),
        _ => None,
    }
}

/// The check that the words after `check` ask for, if it is one of an `exec`, and what it is given. In
/// `check --json gafaelfawr exec …` the flags belong behind `exec`. A program named gafaelfawr is checked with `--`
/// before it.
pub(super) fn check_of(args: &[OsString]) -> Option<(Act, Vec<OsString>)> {
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

/// A key may begin with a dash. What looks like a key, and is no flag, goes behind the end of flags.
fn keys_last(args: Vec<OsString>) -> Vec<OsString> {
    if args.iter().any(|word| word == "--") {
        return args;
    }
    let dashed_key =
        |word: &OsString| word.to_str().is_some_and(|text| text.starts_with('-') && is_key(text));
    let (keys, mut rest): (Vec<_>, Vec<_>) = args.into_iter().partition(dashed_key);
    if !keys.is_empty() {
        rest.push("--".into());
        rest.extend(keys);
    }
    rest
}
