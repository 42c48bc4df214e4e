//! `gafaelfawr` and `stackstate`: their verbs.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;

use super::{begin, help_last, parse, report, suggestion, tell};
use crate::admin;
use crate::check;
use crate::cli::flags::{self, json_arg};
use crate::cli::syntax::scan;
use crate::cli::verbs::{AdminVerb, TokenVerb};
use crate::cli::{FlagsEnd, Line, tokens};
use crate::config::{Purpose, gafaelfawr, stackstate};
use crate::error::Failure;
use crate::exit::ExitStatus;
use crate::log::Log;
use crate::run::token::TokenRun;
use crate::signal::Signals;
use crate::source::gafaelfawr::is_key;

/// An issuer of service tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Of a Rubin Phalanx environment.
    Gafaelfawr,
    /// StackState.
    StackState,
}

impl Service {
    /// The service of this subcommand.
    pub fn named(word: &OsString) -> Option<Service> {
        match word.as_bytes() {
            b"gafaelfawr" => Some(Service::Gafaelfawr),
            b"stackstate" => Some(Service::StackState),
            _ => None,
        }
    }

    fn command(self) -> clap::Command {
        match self {
            Service::Gafaelfawr => tokens::gafaelfawr_command(),
            Service::StackState => tokens::stackstate_command(),
        }
    }

    /// Does what the words after the subcommand ask for.
    pub fn dispatch(self, mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
        help_last(&mut args);
        let command = self.command();
        let verb = args.first().and_then(|word| TokenVerb::named(word));
        let verb = verb.and_then(|verb| Some((verb, command.find_subcommand(verb.name())?.clone())));
        let Some((verb, verb_command)) = verb else {
            let verbs: Vec<String> =
                command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
            let name = command.get_name().to_owned();
            return match parse(command, args, FlagsEnd::DoubleDash, log)? {
                // What stands there may be a token, so it is not shown.
                Some(line) => Err(Failure::usage(match line.operands.first() {
                    None => format!("missing subcommand: expected {name} {}", or(&verbs)),
                    Some(word) => format!(
                        "unknown subcommand of {name}: expected {}{}",
                        or(&verbs),
                        suggestion(word, verbs.iter().map(String::as_str))
                    ),
                })),
                None => Ok(ExitStatus::SUCCESS),
            };
        };
        args.remove(0);
        match verb {
            TokenVerb::Exec => self.exec(verb_command, args, log),
            TokenVerb::Rotate => self.rotate(verb_command, args, log),
            TokenVerb::Bootstrap => {
                by_hand(verb_command, args, log, |line, signals| stackstate::bootstrap(line)?.print(signals))
            }
            TokenVerb::Admin(verb) => {
                if self == Service::Gafaelfawr && verb == AdminVerb::Delete {
                    args = keys_last(args);
                }
                by_hand(verb_command, args, log, |line, signals| self.administer(verb, line, signals))
            }
        }
    }

    fn exec(self, command: clap::Command, args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
        let Some((line, signals)) = begin(command, args, FlagsEnd::FirstWord, log)? else {
            return Ok(ExitStatus::SUCCESS);
        };
        Ok(self.token_run(&line, Purpose::Run)?.execute(&signals, *log))
    }

    fn rotate(
        self,
        command: clap::Command,
        args: Vec<OsString>,
        log: &mut Log,
    ) -> Result<ExitStatus, Failure> {
        let Some((line, signals)) = begin(command, args, FlagsEnd::DoubleDash, log)? else {
            return Ok(ExitStatus::SUCCESS);
        };
        log.follow_sts(&line.values());
        let rotation = match self {
            Service::Gafaelfawr => gafaelfawr::rotation(&line),
            Service::StackState => stackstate::rotation(&line),
        };
        let text = rotation?.run(&signals, *log)?;
        signals.release();
        report(&text)?;
        Ok(ExitStatus::SUCCESS)
    }

    fn token_run(self, line: &Line, purpose: Purpose) -> Result<TokenRun, Failure> {
        match self {
            Service::Gafaelfawr => gafaelfawr::exec(line, purpose),
            Service::StackState => stackstate::exec(line, purpose),
        }
    }

    /// `check`, in front of the line of `exec`.
    pub fn check(self, mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Failure> {
        let command = self.command();
        let exec =
            command.find_subcommand("exec").filter(|_| args.first().is_some_and(|word| word == "exec"));
        let Some(exec) = exec.cloned() else {
            let name = command.get_name();
            return Err(Failure::usage(format!("check {name} must be followed by exec")));
        };
        args.remove(0);
        let Some((line, signals)) = begin(exec.arg(json_arg()), args, FlagsEnd::FirstWord, log)? else {
            return Ok(ExitStatus::SUCCESS);
        };
        let as_json = line.values().boolean("json")?.unwrap_or(false);
        let checked = check::token(self.token_run(&line, Purpose::Check)?, &signals, *log);
        tell(checked, as_json)
    }

    fn administer(self, verb: AdminVerb, line: &Line, signals: &Signals) -> Result<String, Failure> {
        match self {
            Service::Gafaelfawr => {
                let (administration, action) = gafaelfawr::administration(verb, line)?;
                admin::gafaelfawr::act(administration, action, signals)
            }
            Service::StackState => {
                let stackstate::Administered { administration, api_path, kind, action } =
                    stackstate::administration(verb, line)?;
                admin::stackstate::act(administration, &api_path, kind, action, signals)
            }
        }
    }
}

/// `check --json gafaelfawr exec …`: the flags belong behind `exec`. A program named gafaelfawr is checked
/// with `--` before it.
pub fn flags_before_service(args: &[OsString]) -> Option<(Service, Vec<OsString>)> {
    let mut command = flags::check_command();
    command.build();
    let (split, _) = scan(&command, args.iter().cloned(), FlagsEnd::FirstWord);
    let (name, rest) = split.operands.split_first()?;
    let (exec, rest) = rest.split_first()?;
    let service = Service::named(name).filter(|_| exec == "exec")?;
    let at = args.len() - split.operands.len();
    if at == 0 || args[at - 1] == "--" {
        return None;
    }
    let moved = [exec].into_iter().chain(&args[..at]).chain(rest);
    Some((service, moved.cloned().collect()))
}

fn or(words: &[String]) -> String {
    match words {
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => String::new(),
    }
}

/// Does what runs no command, and prints its text.
fn by_hand(
    command: clap::Command,
    args: Vec<OsString>,
    log: &mut Log,
    act: impl FnOnce(&Line, &Signals) -> Result<String, Failure>,
) -> Result<ExitStatus, Failure> {
    let Some((line, signals)) = begin(command, args, FlagsEnd::DoubleDash, log)? else {
        return Ok(ExitStatus::SUCCESS);
    };
    log.follow_sts(&line.values());
    let text = act(&line, &signals)?;
    // A long list may wait for a reader, who may lose patience.
    signals.release();
    report(&text)?;
    Ok(ExitStatus::SUCCESS)
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
