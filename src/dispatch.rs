//! From the first argument to the command that it selects.

mod refused;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use clap::{Command, CommandFactory, FromArgMatches, Parser};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::admin::rotate::Rotation;
use crate::check::{self, Check};
use crate::child::lookup;
use crate::cli::flags::{
    ExplainFlags, GenerateFlags, InspectFlags, PublicFlags, check_command, check_exec_command,
    command_operands,
};
use crate::cli::syntax::scan;
use crate::cli::{
    self, Line, PROGRAM, Stop, asks_for_json, command, described, finished, gafaelfawr, log_format,
    stackstate, suggest,
};
use crate::config::{self, Purpose};
use crate::failure::{ExitStatus, Failure, Reason, brief, or_list, system_error};
use crate::issuer::gafaelfawr::is_token_key;
use crate::log::Log;
use crate::run::token::TokenRun;
use crate::run::{noting_plain_http, plain_http_warning};
use crate::stdout::{print, report};
use crate::sys::signal::Signals;
use crate::{admin, explain};
use refused::write_metrics;

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

/// Gets the arguments after the word that selects it.
type Act = fn(Vec<OsString>, &mut Log) -> Result<ExitStatus, Stop>;

/// A subcommand, or a verb of one.
struct Entry {
    name: &'static str,
    command: fn() -> Command,
    act: Act,
}

const fn entry<F: CommandFactory>(name: &'static str, act: Act) -> Entry {
    Entry { name, command: command::<F>, act }
}

impl Entry {
    fn command(&self) -> Command {
        (self.command)().name(self.name)
    }
}

/// First arguments that are not the command to run.
static SUBCOMMANDS: [Entry; 5] = [
    Entry { name: "check", command: check_command, act: check },
    entry::<ExplainFlags>("explain", |args, log| {
        act_offline(args, log, |line: &Line<ExplainFlags>| explain::text(&line.operands))
    }),
    Entry { name: KEY.name, command: || KEY.command(), act: |args, log| KEY.act(args, log) },
    Entry {
        name: GAFAELFAWR.name,
        command: || GAFAELFAWR.command(),
        act: |args, log| GAFAELFAWR.act(args, log),
    },
    Entry {
        name: STACKSTATE.name,
        command: || STACKSTATE.command(),
        act: |args, log| STACKSTATE.act(args, log),
    },
];

/// Accepted in place of a subcommand or a verb.
const HELP: &str = "help";

/// A subcommand with verbs.
struct Group {
    name: &'static str,
    about: &'static str,
    /// A word in the place of a verb may be a token.
    takes_tokens: bool,
    /// The flags that may stand before the verb, as for `sts`: those of this verb.
    flags_first: Option<fn() -> Command>,
    verbs: &'static [Entry],
}

static KEY: Group = Group {
    name: "key",
    about: "Make and inspect the keys that sign monitoring requests",
    takes_tokens: false,
    flags_first: None,
    verbs: &[
        entry::<GenerateFlags>("generate", |args, log| act_offline(args, log, admin::key::generate)),
        entry::<PublicFlags>("public", |args, log| act_offline(args, log, admin::key::public)),
        entry::<InspectFlags>("inspect", |args, log| act_offline(args, log, admin::key::inspect)),
    ],
};

static GAFAELFAWR: Group = Group {
    name: "gafaelfawr",
    about: "Service tokens of a Rubin Phalanx environment",
    takes_tokens: true,
    flags_first: None,
    verbs: &[
        entry::<gafaelfawr::Create>("create", |args, log| administer(args, log, admin::gafaelfawr::create)),
        entry::<gafaelfawr::List>("list", |args, log| administer(args, log, admin::gafaelfawr::list)),
        entry::<gafaelfawr::Delete>("delete", |args, log| {
            administer(keys_last(args), log, admin::gafaelfawr::delete)
        }),
        entry::<gafaelfawr::Exec>("exec", |args, log| run_exec(args, log, config::gafaelfawr::exec)),
        entry::<gafaelfawr::Rotate>("rotate", |args, log| rotate(args, log, Rotation::of_gafaelfawr)),
    ],
};

static STACKSTATE: Group = Group {
    name: "stackstate",
    about: "Service tokens of StackState (Rancher Observability, SUSE Observability)",
    takes_tokens: true,
    flags_first: Some(command::<stackstate::List>),
    verbs: &[
        entry::<stackstate::Create>("create", |args, log| administer(args, log, admin::stackstate::create)),
        entry::<stackstate::List>("list", |args, log| administer(args, log, admin::stackstate::list)),
        entry::<stackstate::Delete>("delete", |args, log| administer(args, log, admin::stackstate::delete)),
        entry::<stackstate::Bootstrap>("bootstrap", |args, log| {
            administer(args, log, admin::bootstrap::print)
        }),
        entry::<stackstate::Exec>("exec", |args, log| run_exec(args, log, config::stackstate::exec)),
        entry::<stackstate::Rotate>("rotate", |args, log| rotate(args, log, Rotation::of_stackstate)),
    ],
};

impl Group {
    fn names(&self) -> Vec<&'static str> {
        self.verbs.iter().map(|verb| verb.name).collect()
    }

    fn command(&self) -> Command {
        let program = format!("{PROGRAM} {}", self.name);
        finished(Command::new(self.name))
            .about(self.about)
            .override_usage(format!("{program} {} [flags]", self.names().join("|")))
            .bin_name(program)
            .subcommands(self.verbs.iter().map(Entry::command))
    }

    fn act(&self, mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
        if args.first().is_some_and(|word| word == HELP) {
            args.remove(0);
            args.push("-help".into());
        }
        if let Some(at) = self.verb_after_flags(&args) {
            args[..=at].rotate_right(1);
        }
        if let Some(verb) = args.first().and_then(|word| self.verbs.iter().find(|verb| word == verb.name)) {
            args.remove(0);
            return (verb.act)(args, log);
        }
        let first = args.first().filter(|word| !word.as_bytes().starts_with(b"-")).cloned();
        let Line { operands, .. } = match (parse::<()>(|| self.command(), args, log), first) {
            (Err(Stop::Print(_)), Some(word)) => return Err(self.unknown(Some(&word)).into()),
            (line, _) => line?,
        };
        Err(self.unknown(operands.first()).into())
    }

    /// The position of a verb that has flags before it.
    fn verb_after_flags(&self, args: &[OsString]) -> Option<usize> {
        args.first().filter(|word| word.as_bytes().starts_with(b"-"))?;
        let mut command = self.flags_first?().arg(command_operands());
        command.build();
        let (split, _) = scan(&command, args.iter().cloned());
        let verb = split.operands.first()?;
        let at = args.len() - split.operands.len();
        (args[at - 1] != "--" && self.verbs.iter().any(|known| verb == known.name)).then_some(at)
    }

    fn unknown(&self, word: Option<&OsString>) -> Failure {
        let names = self.names();
        let expected = if self.takes_tokens {
            format!("{} {}", self.name, or_list(&names))
        } else {
            or_list(&names.iter().map(|name| format!("{} {name}", self.name)).collect::<Vec<_>>())
        };
        Failure::usage(match word {
            None => format!("missing subcommand: expected {expected}"),
            Some(word) => {
                // A token has digits, or is long.
                let is_word = word.len() < 12 && word.as_bytes().iter().all(u8::is_ascii_lowercase);
                let is_shown = !self.takes_tokens || is_word;
                let shown = if is_shown { brief(word) + "; " } else { String::new() };
                let hint = suggestion(word, names);
                format!("unknown subcommand of {}: {shown}expected {expected}{hint}", self.name)
            }
        })
    }
}

/// The subcommands of `monitoring-token` with their verbs, for man pages, completions and documentation tests.
pub fn subcommands() -> Vec<Command> {
    described(|| SUBCOMMANDS.iter().map(Entry::command).collect())
}

/// `monitoring-token` with all its subcommands.
pub fn full_command() -> Command {
    cli::main_command().subcommands(subcommands())
}

fn dispatch(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    // Subcommands are recognized only as the very first argument.
    let Some(first) = args.first() else { return run(args, log) };
    if let Some(failure) = mistyped(first) {
        let format = log_format(&[], false);
        return Err(Stop::Refused { failure, format, words: Vec::new() });
    }
    let subcommand = SUBCOMMANDS.iter().find(|subcommand| first == subcommand.name);
    let act = match subcommand {
        Some(subcommand) => subcommand.act,
        None if first == HELP => help,
        None => return run(args, log),
    };
    args.remove(0);
    act(args, log)
}

fn first_words() -> impl Iterator<Item = &'static str> {
    SUBCOMMANDS.iter().map(|subcommand| subcommand.name).chain([HELP])
}

/// Rewrites `help COMMAND [VERB]` to `COMMAND [VERB] -help`.
fn help(mut args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    args.push("-help".into());
    let first = &args[0];
    if args.len() > 1 && first_words().all(|name| first != name) {
        let hint = suggestion(first, first_words());
        return Err(Failure::usage(format!("help: unknown command {}{hint}", brief(first))).into());
    }
    dispatch(args, log)
}

/// The failure for a first argument that is nearly a subcommand, unless a program has that name.
fn mistyped(word: &OsStr) -> Option<Failure> {
    let bytes = word.as_bytes();
    if bytes.starts_with(b"-") || bytes.contains(&b'/') || first_words().any(|name| word == name) {
        return None;
    }
    let name = suggest::closest(word.to_str()?, first_words())?;
    lookup::find(word)
        .is_err()
        .then(|| Failure::usage(format!("unknown command {}; did you mean {name}?", brief(word))))
}

/// A suggestion for a mistyped `word`, as the end of a message.
fn suggestion<'a>(word: &OsStr, known: impl IntoIterator<Item = &'a str>) -> String {
    let closest = word.to_str().and_then(|word| suggest::closest(word, known));
    closest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

fn run(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    let (run, signals) =
        configure(args, log, |line, signals| config::locate_run(line, Purpose::Run, signals))?;
    Ok(run.execute(&signals, *log))
}

/// Makes a run of its flags and operands.
type Read<F, T = TokenRun> = fn(Line<F>, Purpose, &Signals) -> Result<T, Failure>;

fn run_exec<F: Parser>(args: Vec<OsString>, log: &mut Log, read: Read<F>) -> Result<ExitStatus, Stop> {
    let (run, signals) = configure(args, log, |line, signals| read(line, Purpose::Run, signals))?;
    Ok(run.execute(&signals, *log))
}

/// Executes a verb that makes no requests, and prints its result.
fn act_offline<F: Parser>(
    args: Vec<OsString>,
    log: &mut Log,
    act: fn(&Line<F>) -> Result<String, Failure>,
) -> Result<ExitStatus, Stop> {
    print(&act(&parse(command::<F>, args, log)?)?)?;
    Ok(ExitStatus::SUCCESS)
}

/// Executes a verb that runs no command, and prints its result.
fn administer<F: Parser>(
    args: Vec<OsString>,
    log: &mut Log,
    act: fn(Line<F>, &Signals) -> Result<String, Failure>,
) -> Result<ExitStatus, Stop> {
    let (line, signals) = begin(command::<F>, args, log)?;
    let result = act(line, &signals).and_then(|text| {
        // From here on, signals end the program: a reader may stop reading a long list.
        signals.release();
        report(&text)
    });
    conclude(result, *log)
}

/// The end of a verb that makes requests.
fn conclude(result: Result<(), Failure>, log: Log) -> Result<ExitStatus, Stop> {
    let insecure = admin::plain_http_host();
    result.map_err(|failure| noting_plain_http(failure, insecure))?;
    if let Some(host) = insecure {
        log.warning(&plain_http_warning(host));
    }
    Ok(ExitStatus::SUCCESS)
}

fn rotate<F: Parser>(
    args: Vec<OsString>,
    log: &mut Log,
    read: fn(Line<F>, &Signals) -> Result<Rotation, Failure>,
) -> Result<ExitStatus, Stop> {
    let (rotation, signals) = configure(args, log, read)?;
    let result = rotation.run(&signals, *log).and_then(|(text, written)| {
        signals.release();
        report(&text).map_err(|failure| written.unprinted(failure))
    });
    conclude(result, *log)
}

fn check(args: Vec<OsString>, log: &mut Log) -> Result<ExitStatus, Stop> {
    if let Some((check, args)) = check_of(&args) {
        return check(args, log);
    }
    if let Some(first) = args.first().filter(|word| first_words().any(|name| *word == name)) {
        let name = brief(first);
        return Err(Failure::usage(format!(
            "check works only for a run and for exec, not for {name}; to check a command called {name}, use: {PROGRAM} check -- {name}"
        ))
        .into());
    }
    print_check(check_command, args, log, config::locate_run, &check::LOCATE)
}

/// `check` in front of `exec`.
fn check_exec<F: Parser>(
    mut args: Vec<OsString>,
    log: &mut Log,
    (group, required): (&Group, &str),
    read: Read<F>,
) -> Result<ExitStatus, Stop> {
    if args.first().is_none_or(|word| word != "exec") {
        let verb = args.first().and_then(|word| group.verbs.iter().find(|verb| word == verb.name));
        let not = verb.map(|verb| format!(", not for {}", verb.name)).unwrap_or_default();
        let exec = format!("{} exec", group.name);
        return Err(Failure::usage(format!(
            "check works only for {exec}{not}; use: {PROGRAM} check {exec} {required} -- true"
        ))
        .into());
    }
    args.remove(0);
    print_check(check_exec_command::<F>, args, log, read, &check::TOKEN)
}

fn check_named(service: &OsString) -> Option<Act> {
    match service.as_bytes() {
        b"gafaelfawr" => Some(|args, log| {
            let group = (&GAFAELFAWR, "--username NAME --scopes A,B");
            check_exec(args, log, group, config::gafaelfawr::exec)
        }),
        b"stackstate" => {
            Some(|args, log| check_exec(args, log, (&STACKSTATE, "--roles A,B"), config::stackstate::exec))
        }
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
    let mut command = check_command();
    command.build();
    let (split, _) = scan(&command, args.iter().cloned());
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

/// Checks a command line, and prints the result: also of one that is invalid.
fn print_check<F: FromArgMatches, T>(
    command: fn() -> Command,
    args: Vec<OsString>,
    log: &mut Log,
    read: Read<F, T>,
    check: &Check<T>,
) -> Result<ExitStatus, Stop> {
    let (line, signals) = begin(command, args, log).map_err(|stop| match &stop {
        Stop::Refused { failure, words, .. } if asks_for_json(words) => {
            print(&check.refused(failure.clone()).json()).err().map_or(stop, Stop::Failed)
        }
        _ => stop,
    })?;
    let as_json = asks_for_json(&line.words);
    let checked = match read(line, Purpose::Check, &signals) {
        Ok(what) => check.make(what, &signals, *log),
        Err(failure) => check.refused(failure),
    };
    // From here on, signals end the program: a reader may stop reading.
    signals.release();
    if as_json {
        print(&checked.json())?;
    } else if checked.failure.as_ref().is_none_or(|failure| failure.reason != Reason::Usage) {
        print(&checked.table())?;
    }
    checked.failure.map_or(Ok(ExitStatus::SUCCESS), |failure| Err(failure.into()))
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

/// Parses and reads a command line. If it cannot be run, writes the metrics that it asks for.
fn configure<F: Parser, T>(
    args: Vec<OsString>,
    log: &mut Log,
    read: impl FnOnce(Line<F>, &Signals) -> Result<T, Failure>,
) -> Result<(T, Signals), Stop> {
    let noted = |failure, words: &[OsString]| write_metrics(failure, &command::<F>(), words);
    let (mut line, signals) = begin(command::<F>, args, log).map_err(|stop| match stop {
        Stop::Refused { failure, format, words } => {
            Stop::Refused { failure: noted(failure, &words), format, words }
        }
        stop => stop,
    })?;
    let words = std::mem::take(&mut line.words);
    let what = read(line, &signals).map_err(|failure| noted(failure, &words))?;
    Ok((what, signals))
}

/// Common start of the commands that make requests: signals are caught before anything is read.
fn begin<F: FromArgMatches>(
    command: fn() -> Command,
    args: Vec<OsString>,
    log: &mut Log,
) -> Result<(Line<F>, Signals), Stop> {
    let signals = Signals::catch();
    let line = parse(command, args, log)?;
    match signals {
        Ok(signals) => Ok((line, signals)),
        Err(error) => {
            let message = format!("cannot catch signals: {}", system_error(&error));
            let failure = Failure::local(Reason::System, message);
            Err(Stop::Refused { failure, format: line.format, words: line.words })
        }
    }
}

fn parse<F: FromArgMatches>(
    command: impl Fn() -> Command,
    args: Vec<OsString>,
    log: &mut Log,
) -> Result<Line<F>, Stop> {
    let line = cli::parse(command, args)?;
    *log = Log::start(line.format, line.debug);
    Ok(line)
}
