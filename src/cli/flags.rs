//! The flags, as clap definitions: names, variables, defaults, help. Values stay text here; what they
//! mean is [`crate::config`]'s.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, ValueHint};

use super::syntax::{DEBUG_FLAG, LOG_FORMAT_FLAG, LOG_FORMAT_VARIABLE};
use super::values::Kind;
use crate::VERSION;
use crate::failure::Reason;

const RUN: &str = "Running the command";
const HTTP: &str = "Connecting";
const LOG: &str = "Diagnostics";
const CACHE: &str = "Result cache";

/// A flag with a value.
pub(super) fn value(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name(value_name)
        .help(help)
        .action(ArgAction::Set)
        .allow_hyphen_values(true)
        .value_parser(clap::value_parser!(std::ffi::OsString))
}

/// A flag whose value is a Go duration.
pub(super) fn duration(name: &'static str, help: &'static str) -> Arg {
    value(name, Kind::Duration.value_name(), help)
}

/// A Go boolean: its value only after `=`.
pub(super) fn boolean(name: &'static str, help: &'static str) -> Arg {
    value(name, Kind::Boolean.value_name(), help)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
}

/// What all commands share: Go's rules on repeated flags, `-help`, no surprises.
pub(super) fn command(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .args_override_self(true)
        .disable_help_subcommand(true)
        .disable_version_flag(true)
        .next_line_help(false)
        .term_width(100)
}

/// `monitoring-token [flags] [--] COMMAND [ARG...]`
pub fn main_command() -> Command {
    command("monitoring-token", "Give a monitoring job a short-lived credential, run the job, leave nothing behind")
        .bin_name("monitoring-token")
        .override_usage(
            "monitoring-token [flags] [--] COMMAND [ARG...]\n       \
             monitoring-token help [check|explain|key|gafaelfawr|stackstate]",
        )
        .after_help(
            "A flag takes one dash or two, and its value after = or as the next word (a BOOL only after =).\n\
             A flag beats its variable; of two, the last wins. Durations are Go's: 250ms, 5s, 1m30s.\n\
             \n\
             Exit status: the command's own; 128+N if it died of signal N; 124 timeout; 125 monitoring-token\n\
             failed, the target was not tested; 126 COMMAND cannot be run; 127 not found; 2 bad usage.",
        )
        .arg(
            Arg::new("version")
                .long("version")
                .action(ArgAction::Version)
                .help("Print the version, its commit and date")
                .display_order(2000),
        )
        .version(VERSION)
        .args(locate_args())
        .args(exchange_args())
        .args(http_args())
        .args(run_args())
        .args(cache_args())
        .args(log_args())
        .arg(command_operands())
}

/// `monitoring-token check [flags] [COMMAND...]`
pub fn check_command() -> Command {
    main_command()
        .name("check")
        .bin_name("monitoring-token check")
        .about("Make the request of a run, show how each step went, and run no command")
        .override_usage("monitoring-token check [flags] [--] [COMMAND ARG...]")
        .after_help(
            "Put check in front of a line that fails, also of gafaelfawr exec and stackstate exec; its COMMAND is\n\
             ignored, and no token is made. The exit status is the one that\n\
             the run would have had before its command: 0, 124 timeout, 125 failure, 2 bad usage.",
        )
        .arg(json_arg())
}

/// `monitoring-token explain [REASON]`
pub fn explain_command() -> Command {
    let names = Reason::ALL.iter().map(|reason| reason.name());
    command("explain", "Explain a reason for a failure: its likely causes and what to check")
        .bin_name("monitoring-token explain")
        .after_help("Without REASON, all reasons are listed. No network is used.")
        .arg(
            Arg::new("reason")
                .value_name("REASON")
                .help("The reason, as in the logs, the metrics and check --json")
                .value_parser(PossibleValuesParser::new(names))
                .hide_possible_values(true),
        )
}

/// `--json`, on every check.
pub(crate) fn json_arg() -> Arg {
    boolean("json", "Print JSON, not a table").help_heading(LOG)
}

/// COMMAND and its arguments. They never reach clap in a run (see [`super::syntax`]); they are here for
/// the man page and the completions.
pub(super) fn command_operands() -> Arg {
    Arg::new("command")
        .value_name("COMMAND")
        .help("The program to run, and its arguments")
        .num_args(0..)
        .trailing_var_arg(true)
        .value_hint(ValueHint::CommandWithArguments)
        .value_parser(clap::value_parser!(std::ffi::OsString))
}

/// The flags of the original.
fn locate_args() -> Vec<Arg> {
    [
        value("locate-url", "URL", "URL prefix of Locate; its query is kept [default: http://localhost:8080/v2/platform/monitoring/]")
            .env("LOCATE_URL"),
        value("monitoring-signer-key", "FILE", "Private JWK that signs our request; the variable may also hold the JWK itself")
            .env("MONITORING_SIGNER_KEY")
            .value_hint(ValueHint::FilePath),
        value("machine", "NAME", "M-Lab machine to monitor: the JWT's sub").env("MACHINE"),
        value("service", "EXPERIMENT/DATATYPE", "Service to monitor [default: ndt/ndt5]").env("SERVICE"),
        value("env-name", "NAME", "Variable that receives the URL [default: MONITORING_URL]").env("ENV_NAME"),
        boolean("service-url", "Put the service URL there, not the monitoring URL [default: false]").env("SERVICE_URL"),
        value("service-url-key-name", "KEY", "Key in target.urls [default: the service's own]").env("SERVICE_URL_KEY_NAME"),
    ]
    .map(|arg| arg.hide_env_values(true).help_heading("Monitoring"))
    .into()
}

fn exchange_args() -> Vec<Arg> {
    vec![
        boolean("exchange", "Ask Locate for the service URL first; false does exactly what the original does by default [default: true]")
            .env("MONITORING_TOKEN_EXCHANGE")
            .hide_env_values(true)
            .help_heading("Monitoring"),
    ]
}

/// What concerns requests: on every command that makes one.
pub(super) fn http_args() -> Vec<Arg> {
    [
        value(
            "retries",
            Kind::Number.value_name(),
            "Further tries on connection errors, 429, 502, 503 and 504 [default: 2]",
        )
        .env("MONITORING_TOKEN_RETRIES"),
        value("ca-file", "FILE", "PEM file of further certificate authorities")
            .env("MONITORING_TOKEN_CA_FILE")
            .value_hint(ValueHint::FilePath),
    ]
    .map(|arg| arg.hide_env_values(true).help_heading(HTTP))
    .into()
}

/// What concerns the run of a command: on the main command and on `exec`.
pub(super) fn run_args() -> Vec<Arg> {
    [
        duration("timeout", "Limit for request and command together [default: 60s]").env("TIMEOUT"),
        duration("kill-after", "Grace between SIGTERM and SIGKILL; 0 is SIGKILL at once [default: 5s]")
            .env("MONITORING_TOKEN_KILL_AFTER"),
        value("output", "WHERE", "Where the command's output goes: discard, inherit, masked (inherit, with this run's secrets replaced by ***), or on-failure (the last 64 KiB to stderr if it fails) [default: discard]")
            .env("MONITORING_TOKEN_OUTPUT"),
        boolean("die-with-parent", "End the run if our parent process dies [default: false]")
            .env("MONITORING_TOKEN_DIE_WITH_PARENT"),
        value("metrics-textfile", "FILE", "Write metrics of the run for the node_exporter's textfile collector")
            .env("MONITORING_TOKEN_METRICS_TEXTFILE")
            .value_hint(ValueHint::FilePath),
        value("metrics-label", "NAME=VALUE", "Add a label to the metrics; may be repeated, or be a list with commas")
            .env("MONITORING_TOKEN_METRICS_LABEL")
            .action(ArgAction::Append),
    ]
    .map(|arg| arg.hide_env_values(true).help_heading(RUN))
    .into()
}

/// The same on `exec`, with its own defaults.
pub(super) fn exec_args() -> Vec<Arg> {
    let args = run_args().into_iter().map(|arg| match arg.get_id().as_str() {
        "timeout" => arg.help("Limit for requests and command together; the token expires soon after it [default: 1h]"),
        "output" => arg.help("Where the command's output goes: masked (to stdout and stderr, with this run's secrets replaced by ***), inherit, discard, or on-failure (the last 64 KiB to stderr if it fails); not a format, so there is no -o [default: masked]"),
        _ => arg,
    });
    args.collect()
}

fn cache_args() -> Vec<Arg> {
    [
        duration("cache-ttl", "Do not run again if the same run succeeded less than this ago [default: off]")
            .env("MONITORING_TOKEN_CACHE_TTL"),
        duration("cache-failure-ttl", "The same for a run that failed [default: off]")
            .env("MONITORING_TOKEN_CACHE_FAILURE_TTL"),
        value("cache-dir", "DIR", "Where results are kept [default: $XDG_CACHE_HOME/monitoring-token]")
            .env("MONITORING_TOKEN_CACHE_DIR")
            .value_hint(ValueHint::DirPath),
    ]
    .map(|arg| arg.hide_env_values(true).help_heading(CACHE))
    .into()
}

pub(super) fn log_args() -> Vec<Arg> {
    [
        boolean(DEBUG_FLAG, "Show on stderr what happens, and the command's output [default: false]")
            .env("LOGX_DEBUG"),
        value(LOG_FORMAT_FLAG, "FORMAT", "text or json [default: text]").env(LOG_FORMAT_VARIABLE),
    ]
    .map(|arg| arg.hide_env_values(true).help_heading(LOG))
    .into()
}

/// `monitoring-token key ...`
pub fn key_command() -> Command {
    command("key", "Make and inspect the keys that sign monitoring requests")
        .bin_name("monitoring-token key")
        .subcommand(
            command(
                "generate",
                "Make a key pair: FILE holds the private key (0600), FILE.pub the public one",
            )
            .bin_name("monitoring-token key generate")
            .arg(value("alg", "ALG", "EdDSA, ES256 or RS256 [default: EdDSA]"))
            .arg(value("kid", "ID", "Key id [default: the key's thumbprint, RFC 7638]"))
            .arg(
                value("out", "FILE", "File to write, never overwritten [default: jwk_sig_ALG_KID]")
                    .value_hint(ValueHint::FilePath),
            ),
        )
        .subcommand(
            command("public", "Print the public key that belongs to a private one")
                .bin_name("monitoring-token key public")
                .arg(boolean("jwks", "Print a JWK set"))
                .args(file_to_read()),
        )
        .subcommand(
            command("inspect", "Print type, algorithm, key id and thumbprint; never private parts")
                .bin_name("monitoring-token key inspect")
                .args(file_to_read()),
        )
}

fn file_to_read() -> [Arg; 2] {
    [
        duration("timeout", "Limit for reading FILE, which may be a pipe [default: 60s]"),
        Arg::new("file")
            .value_name("FILE")
            .help("JWK file")
            .num_args(0..)
            .value_hint(ValueHint::FilePath)
            .value_parser(clap::value_parser!(std::ffi::OsString)),
    ]
}
