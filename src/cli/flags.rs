//! The flags of the main command, of `check`, `explain` and `key`: each with its type, variable, default and help.
//! Rules between flags are [`crate::config`]'s.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Args, Command, CommandFactory, Parser, ValueHint, value_parser};

use super::parse::{command, with_usage};
use super::syntax::{DEBUG_FLAG, JSON_FLAG, LOG_FORMAT_FLAG, LOG_FORMAT_VARIABLE};
use super::values::{
    Flag as _, Given, PROGRAM, Preset, Why, anything, count, described, duration, filled, given, one_of,
    path, positive_duration, read,
};
use crate::VERSION;
use crate::child::OutputPolicy;
use crate::go::csv;
use crate::issuer::locate::{SERVICE_URL, SIGNER_KEY};
use crate::key::{ACCEPTED_EVERYWHERE, Algorithm};
use crate::log::LogFormat;
use crate::metrics;
use crate::reason::Reason;

pub(super) const RUN: &str = "Running the command";
const DIAGNOSTICS: &str = "Diagnostics";

pub(crate) const LOCATE_URL: &str = "http://localhost:8080/v2/platform/monitoring/";
pub(crate) const SERVICE: &str = "ndt/ndt5";
pub(crate) const ENV_NAME: &str = "MONITORING_URL";
pub(crate) const EXCHANGE: bool = true;
pub(crate) const RETRIES: Preset<u32> = Preset { text: "2", parse: count };
pub(crate) const TIMEOUT: Preset<Duration> = Preset { text: "60s", parse: positive_duration };
pub(crate) const OUTPUT: Preset<OutputPolicy> = Preset { text: "discard", parse: output };
pub(crate) const KILL_AFTER: Preset<Duration> = Preset { text: "5s", parse: duration };
pub(crate) const ALGORITHM: Preset<Algorithm> = Preset { text: "EdDSA", parse: key_algorithm };

/// Give a monitoring job a short-lived credential, run the job, leave nothing behind
#[derive(Parser)]
#[command(
    version = VERSION,
    override_usage = "monitoring-token [flags] [--] COMMAND [ARG...]\n       \
        monitoring-token help [check|explain|key|gafaelfawr|stackstate]",
    after_help = "Commands:\n  \
        check       Make the same request as a run and show each step, without running the command\n  \
        explain     Explain a reason for a failure: its likely causes and what to check\n  \
        key         Make and inspect the keys that sign monitoring requests\n  \
        gafaelfawr  Run a command with a service token of a Phalanx environment, or manage tokens\n  \
        stackstate  Run a command with a service token of StackState (Rancher Observability, SUSE\n              \
                    Observability), or manage tokens\n\
        \n\
        A flag takes one dash or two, and its value after = or as the next argument. A BOOL has\n\
        its value only after =, except in -logx.debug true.\n\
        A flag overrides its variable. If a flag is given twice, the last one counts.\n\
        Durations are Go durations: 250ms, 5s, 1m30s.\n\
        \n\
        Exit status: the command's own; 128+N if it died of signal N; 124 timeout; 125 monitoring-token\n\
        failed, the target was not tested; 126 COMMAND cannot be run; 127 not found; 2 usage error.",
    bin_name = PROGRAM,
    arg = command_operands(),
    args = log_flags()
)]
pub(crate) struct MainFlags {
    /// Print the version, its commit and date
    #[arg(long, action = ArgAction::Version, display_order = 2000)]
    version: (),
    #[command(flatten)]
    pub(crate) locate: LocateFlags,
    #[command(flatten)]
    pub(crate) http: HttpFlags,
    /// Limit for request and command together
    #[arg(long, value_name = "DURATION", variable("TIMEOUT"), default(TIMEOUT.text), value_parser = read(TIMEOUT.parse), help_heading = RUN)]
    pub(crate) timeout: Option<Duration>,
    /// Where the command's output goes: discard, inherit, masked (inherit, with this run's secrets replaced by ***), or on-failure (the last 64 KiB to stderr if it fails)
    #[arg(long, value_name = "WHERE", variable(OUTPUT_VARIABLE), default(OUTPUT.text), value_parser = given(OUTPUT.parse), help_heading = RUN)]
    pub(crate) output: Option<Given<OutputPolicy>>,
    #[command(flatten)]
    pub(crate) run: RunFlags,
    #[command(flatten)]
    pub(crate) cache: CacheFlags,
}

/// `monitoring-token` without its subcommands.
pub fn main_command() -> Command {
    described(command::<MainFlags>)
}

/// The flags of `check`: those of `run`, and its own.
pub(crate) fn check_flags<R: CommandFactory>() -> Command {
    let json = Arg::new(JSON_FLAG).long(JSON_FLAG).help("Print JSON instead of a table");
    command::<R>().arg(json.boolean(false).help_heading(DIAGNOSTICS))
}

/// `check` in front of the main command.
pub(crate) fn check_command() -> Command {
    check_flags::<MainFlags>()
        .bin_name("monitoring-token check")
        .about("Make the same request as a run and show each step, without running the command")
        .override_usage("monitoring-token check [flags] [--] [COMMAND ARG...]")
        .after_help(
            "To check a command line that fails, insert check after monitoring-token, also before gafaelfawr exec and stackstate exec. \
            COMMAND is not run, and no token is created. The exit status is the one that the run would have had before its \
            command: 0, 124 timeout, 125 failure, 2 usage error.",
        )
}

/// `check` in front of an `exec`.
pub(crate) fn check_exec_command<R: CommandFactory>() -> Command {
    let exec = check_flags::<R>();
    let program = exec.get_bin_name().unwrap_or_default().replacen(PROGRAM, "monitoring-token check", 1);
    with_usage(exec.bin_name(program).about(
        "Check each step of exec up to the creation of a token, without creating one or running COMMAND",
    ))
}

/// The original's flags, and `-exchange`. As in the original, values that are text are parsed late: if a flag is given
/// twice, only the last value must be valid.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = "Monitoring")]
pub(crate) struct LocateFlags {
    /// URL prefix of Locate; its query is kept
    #[arg(long, value_name = "URL", variable("LOCATE_URL"), default(LOCATE_URL), value_parser = given(anything))]
    pub(crate) locate_url: Option<Given>,
    /// Private JWK that signs the request; the variable may also hold the JWK itself
    #[arg(long, value_name = "FILE", variable(SIGNER_KEY), value_hint = ValueHint::FilePath, value_parser = given(anything))]
    pub(crate) monitoring_signer_key: Option<Given>,
    /// M-Lab machine to monitor
    #[arg(long, value_name = "NAME", variable("MACHINE"), value_parser = given(anything))]
    pub(crate) machine: Option<Given>,
    /// Service to monitor
    #[arg(long, value_name = "EXPERIMENT/DATATYPE", variable("SERVICE"), default(SERVICE), value_parser = given(anything))]
    pub(crate) service: Option<Given>,
    /// Variable that receives the URL
    #[arg(long, value_name = "NAME", variable("ENV_NAME"), default(ENV_NAME), value_parser = given(anything))]
    pub(crate) env_name: Option<Given>,
    /// Pass the service URL in that variable instead of the monitoring URL
    #[arg(long, variable(SERVICE_URL), boolean(false))]
    pub(crate) service_url: Option<bool>,
    /// Key in target.urls [default: the service's own]
    #[arg(long, value_name = "KEY", variable("SERVICE_URL_KEY_NAME"), value_parser = given(anything))]
    pub(crate) service_url_key_name: Option<Given>,
    /// Ask Locate for the service URL first; false only signs the monitoring URL, as m-lab's monitoring-token does by default
    #[arg(long, variable("MONITORING_TOKEN_EXCHANGE"), boolean(EXCHANGE))]
    pub(crate) exchange: Option<bool>,
}

/// Flags of every command that makes requests.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = "Connecting")]
pub(crate) struct HttpFlags {
    /// Retries after connection errors and HTTP 408, 429, 502, 503 or 504
    #[arg(long, value_name = "N", variable("MONITORING_TOKEN_RETRIES"), default(RETRIES.text), value_parser = read(RETRIES.parse))]
    pub(crate) retries: Option<u32>,
    /// PEM file with additional certificate authorities
    #[arg(long, value_name = "FILE", variable("MONITORING_TOKEN_CA_FILE"), value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) ca_file: Option<PathBuf>,
}

/// Flags of every command that runs COMMAND.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = RUN)]
pub(crate) struct RunFlags {
    /// Grace period between SIGTERM and SIGKILL; 0 sends SIGKILL at once
    #[arg(long, value_name = "DURATION", variable("MONITORING_TOKEN_KILL_AFTER"), default(KILL_AFTER.text), value_parser = read(KILL_AFTER.parse))]
    pub(crate) kill_after: Option<Duration>,
    /// End the run if the parent process dies
    #[arg(long, variable("MONITORING_TOKEN_DIE_WITH_PARENT"), boolean(false))]
    pub(crate) die_with_parent: Option<bool>,
    #[command(flatten)]
    pub(crate) metrics: MetricsFlags,
}

#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = DIAGNOSTICS)]
pub(crate) struct MetricsFlags {
    /// Write metrics of the run for the node_exporter's textfile collector
    #[arg(long, value_name = "FILE", variable("MONITORING_TOKEN_METRICS_TEXTFILE"), value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) metrics_textfile: Option<PathBuf>,
    /// Add a label to the metrics; may be repeated, or be a list with commas
    #[arg(long, value_name = "NAME=VALUE", variable("MONITORING_TOKEN_METRICS_LABEL"), value_parser = given(labels))]
    pub(crate) metrics_label: Vec<Given<LabelList>>,
}

/// Flags of the main command only.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = "Result cache")]
#[expect(clippy::struct_field_names, reason = "they are named as the flags")]
pub(crate) struct CacheFlags {
    /// Skip the run if the same run succeeded within this time; 0 is off [default: 0]
    #[arg(long, value_name = "DURATION", variable("MONITORING_TOKEN_CACHE_TTL"), value_parser = read(duration))]
    pub(crate) cache_ttl: Option<Duration>,
    /// Skip the run if the same run failed within this time; 0 is off [default: 0]
    #[arg(long, value_name = "DURATION", variable("MONITORING_TOKEN_CACHE_FAILURE_TTL"), value_parser = read(duration))]
    pub(crate) cache_failure_ttl: Option<Duration>,
    /// Where results are kept [default: $XDG_CACHE_HOME/monitoring-token, $CACHE_DIRECTORY or ~/.cache/monitoring-token]
    #[arg(long, value_name = "DIR", variable("MONITORING_TOKEN_CACHE_DIR"), value_hint = ValueHint::DirPath, value_parser = read(path))]
    pub(crate) cache_dir: Option<PathBuf>,
}

/// Read by the parser, for every command.
pub(super) fn log_flags() -> [Arg; 2] {
    let debug = Arg::new(DEBUG_FLAG).long(DEBUG_FLAG).variable("LOGX_DEBUG").boolean(false);
    let format =
        Arg::new(LOG_FORMAT_FLAG).long(LOG_FORMAT_FLAG).variable(LOG_FORMAT_VARIABLE).default("text");
    [
        debug.help("Show each step on stderr, and the command's output"),
        format
            .value_name("FORMAT")
            .help("Format of the lines on stderr: text or json")
            .value_parser(read(log_format)),
    ]
    .map(|flag| flag.help_heading(DIAGNOSTICS))
}

/// Explain a reason for a failure: its likely causes and what to check
#[derive(Parser)]
#[command(
    bin_name = "monitoring-token explain",
    override_usage = "monitoring-token explain [REASON]",
    after_help = "Without REASON, all reasons are listed. No network is used.",
    arg = reason_operand()
)]
pub(crate) struct ExplainFlags {}

/// Make a key pair: FILE holds the private key (0600), FILE.pub the public one
#[derive(Parser)]
#[command(
    bin_name = "monitoring-token key generate",
    arg = operands("FILE", "Refused: use --out FILE").hide(true)
)]
pub(crate) struct GenerateFlags {
    /// EdDSA, ES256 or RS256
    #[arg(long, value_name = "ALG", default(ALGORITHM.text), value_parser = read(ALGORITHM.parse))]
    pub(crate) alg: Option<Algorithm>,
    /// Key ID [default: the key's thumbprint (RFC 7638), padded with = as jwk-keygen does]
    #[arg(long, value_name = "ID", value_parser = read(key_id))]
    pub(crate) kid: Option<String>,
    /// File to write, never overwritten [default: jwk_sig_ALG_KID]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) out: Option<PathBuf>,
}

/// Print the public key that belongs to a private one
#[derive(Parser)]
#[command(bin_name = "monitoring-token key public")]
pub(crate) struct PublicFlags {
    /// Print a JWK set
    #[arg(long, boolean(false))]
    pub(crate) jwks: Option<bool>,
    #[command(flatten)]
    pub(crate) file: KeyFileFlags,
}

/// Print type, algorithm, key ID and thumbprint; never private parts
#[derive(Parser)]
#[command(bin_name = "monitoring-token key inspect")]
pub(crate) struct InspectFlags {
    #[command(flatten)]
    pub(crate) file: KeyFileFlags,
}

#[derive(Args)]
#[group(skip)]
#[command(arg = operands("FILE", "JWK file").num_args(0..=1).value_hint(ValueHint::FilePath))]
pub(crate) struct KeyFileFlags {
    /// Limit for reading FILE, which may be a pipe
    #[arg(long, value_name = "DURATION", default(TIMEOUT.text), value_parser = read(TIMEOUT.parse))]
    pub(crate) timeout: Option<Duration>,
}

/// Operands never reach clap in a run (see [`super::syntax`]); they are defined for the man pages and completions.
pub(super) fn operands(name: &'static str, help: &'static str) -> Arg {
    Arg::new("operands")
        .value_name(name)
        .help(help)
        .help_heading(None::<&str>)
        .num_args(0..)
        .value_parser(value_parser!(std::ffi::OsString))
}

pub(crate) fn command_operands() -> Arg {
    operands("COMMAND", "The program to run, and its arguments")
        .trailing_var_arg(true)
        .value_hint(ValueHint::CommandWithArguments)
}

fn reason_operand() -> Arg {
    operands("REASON", "The reason, as in the logs, the metrics and the output of check")
        .num_args(0..=1)
        .value_parser(PossibleValuesParser::new(Reason::ALL.iter().map(|reason| reason.name())))
        .hide_possible_values(true)
}

pub(super) const OUTPUT_VARIABLE: &str = "MONITORING_TOKEN_OUTPUT";

pub(super) fn output(text: &OsStr) -> Result<OutputPolicy, Why> {
    const POLICIES: [(&str, OutputPolicy); 4] = [
        ("discard", OutputPolicy::Discard),
        ("inherit", OutputPolicy::Inherit),
        ("on-failure", OutputPolicy::OnFailure),
        ("masked", OutputPolicy::Masked),
    ];
    one_of(&POLICIES, text)
}

fn log_format(text: &OsStr) -> Result<LogFormat, Why> {
    one_of(&[("text", LogFormat::Text), ("json", LogFormat::Json)], text)
}

/// Only the algorithms that every Locate accepts.
fn key_algorithm(text: &OsStr) -> Result<Algorithm, Why> {
    one_of(&ACCEPTED_EVERYWHERE, text)
}

fn key_id(text: &OsStr) -> Result<String, Why> {
    if text.is_empty() {
        return Err(Why::Hidden("must not be empty; leave it out for the key's thumbprint".into()));
    }
    filled(text).map(str::to_owned)
}

pub(crate) type LabelList = Vec<(String, String)>;

pub(crate) fn labels(text: &OsStr) -> Result<LabelList, Why> {
    let list =
        csv::fields(text.to_str().ok_or("not valid UTF-8")?).ok_or("a quotation mark is not closed")?;
    if text.is_empty() {
        return Err(Why::Empty);
    }
    let label = |label: String| {
        let (name, value) = label.split_once('=').ok_or("expected NAME=VALUE")?;
        if !metrics::is_label_name(name) {
            return Err("a label name has letters, digits and underscores, and does not begin with a digit");
        }
        if metrics::RESERVED_LABELS.contains(&name) || name.starts_with("__") {
            return Err("this label name is reserved");
        }
        if value.chars().any(char::is_control) {
            return Err("a label value must not contain control characters");
        }
        Ok((name.to_owned(), value.to_owned()))
    };
    Ok(list.into_iter().map(label).collect::<Result<_, &str>>()?)
}
