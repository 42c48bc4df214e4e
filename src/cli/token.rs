//! Flags that `gafaelfawr` and `stackstate` share.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, Args, ValueHint};

use super::flags::{
    HttpFlags, MetricsFlags, OUTPUT_VARIABLE, RUN, RunFlags, TIMEOUT, command_operands, log_flags, output,
};
use super::syntax::DEBUG_FLAG;
use super::values::{
    Flag as _, Given, Parse, Preset, SERVICE, TOKEN, Why, anything, given, lifetime, one_of, only, path,
    positive_duration, read,
};
use crate::child::OutputPolicy;
use crate::secret::is_file_name;

/// Flags of `exec`, for every issuer.
#[derive(Args)]
#[group(skip)]
#[command(arg = command_operands(), args = log_flags())]
pub(crate) struct ExecFlags {
    /// Environment variable that receives the token
    #[arg(long, value_name = "NAME", default(EXEC_ENV_NAME), value_parser = given(anything), help_heading = TOKEN)]
    pub(crate) env_name: Option<Given>,
    #[command(flatten)]
    pub(crate) http: HttpFlags,
    /// Limit for requests and command together; the token expires soon after it
    #[arg(long, value_name = "DURATION", variable("TIMEOUT"), default(EXEC_TIMEOUT.text), value_parser = read(EXEC_TIMEOUT.parse), help_heading = RUN)]
    pub(crate) timeout: Option<Duration>,
    /// Where the command's output goes: masked (to stdout and stderr, with this run's secrets replaced by ***), inherit, discard, or on-failure (the last 64 KiB to stderr if it fails); not a format, so there is no -o
    #[arg(long, value_name = "WHERE", variable(OUTPUT_VARIABLE), default(EXEC_OUTPUT.text), value_parser = given(EXEC_OUTPUT.parse), help_heading = RUN)]
    pub(crate) output: Option<Given<OutputPolicy>>,
    #[command(flatten)]
    pub(crate) run: RunFlags,
}

/// Help of `-logx.debug` where no command is run.
pub(super) const SHOW_STEPS: &str = "Show each step on stderr";

/// Flags of the verbs that make requests but run no command.
#[derive(Args)]
#[group(skip)]
#[command(args = log_flags(), mut_arg(DEBUG_FLAG, |debug| debug.help(SHOW_STEPS)))]
pub(crate) struct AdminFlags {
    /// Output format: text or json
    #[arg(long, short = 'o', value_name = "FORMAT", default(FORMAT.text), value_parser = read(FORMAT.parse), help_heading = None::<&str>)]
    pub(crate) output: Option<Format>,
    #[command(flatten)]
    pub(crate) http: HttpFlags,
    /// Limit for the request
    #[arg(long, value_name = "DURATION", variable("TIMEOUT"), default(TIMEOUT.text), value_parser = read(TIMEOUT.parse), help_heading = SERVICE)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = TOKEN)]
pub(crate) struct OutFlags {
    /// Write the token to FILE (0600, never overwritten) instead of stdout
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) out: Option<PathBuf>,
}

/// Flags of `rotate`, for every issuer.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = TOKEN)]
pub(crate) struct RotateFlags {
    /// File that holds the token; FILE.lock and FILE.state are kept beside it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) token_file: PathBuf,
    /// Replace a token that expires sooner than this; to apply changed flags at once, use more than its lifetime [default: a third of the lifetime]
    #[arg(long, value_name = "LIFETIME", value_parser = read(lifetime))]
    pub(crate) renew_before: Option<Duration>,
    /// Leave the old token to expire instead of deleting it
    #[arg(long, boolean(false))]
    pub(crate) keep_old: Option<bool>,
    /// Token lifetime such as 12h or 7d, at least 5m
    #[arg(long, value_name = "LIFETIME", default(LIFETIME.text), value_parser = read(LIFETIME.parse))]
    pub(crate) lifetime: Option<Duration>,
    #[command(flatten)]
    pub(crate) metrics: MetricsFlags,
}

pub(super) fn limit_of_rotate(timeout: Arg) -> Arg {
    timeout.help("Limit for the requests, and for waiting for another rotate of the same file")
}

/// With a shorter lifetime, every run of a timer would replace the token.
const MIN_ROTATED_LIFETIME: Duration = Duration::from_secs(300);

fn rotated_lifetime(text: &OsStr) -> Result<Duration, Why> {
    let lifetime = lifetime(text)?;
    only(lifetime, lifetime >= MIN_ROTATED_LIFETIME, "expected at least 5m")
}

pub(crate) const EXEC_ENV_NAME: &str = "SERVICE_TOKEN";
pub(crate) const EXEC_TIMEOUT: Preset<Duration> = Preset { text: "1h", parse: positive_duration };
pub(crate) const EXEC_OUTPUT: Preset<OutputPolicy> = Preset { text: "masked", parse: output };
pub(crate) const FORMAT: Preset<Format> = Preset { text: "text", parse: format };
pub(crate) const LIFETIME: Preset<Duration> = Preset { text: DEFAULT_LIFETIME, parse: rotated_lifetime };
pub(super) const DEFAULT_LIFETIME: &str = "24h";

/// Flags that would put a token on the command line, where every user can read it. They are defined only to be refused
/// with advice.
pub(super) fn refused(parse: Parse<()>) -> [Arg; 5] {
    ["admin-token", "api-token", "k8s-sa-token", "service-token", "token"]
        .map(|name| refused_flag(name, parse))
}

pub(super) fn refused_flag(name: &'static str, parse: Parse<()>) -> Arg {
    Arg::new(name).long(name).hide(true).help_heading(SERVICE).value_parser(read(parse))
}

/// `variables` names the variables that may hold the token itself, for messages.
pub(super) fn token_file(text: &OsStr, variables: &str) -> Result<PathBuf, Why> {
    if is_token(text) {
        return Err(public(variables, "expected a file, not the token; "));
    }
    path(text)
}

/// True if this is a token, or more likely one than the name of a file that does not exist.
fn is_token(text: &OsStr) -> bool {
    /// Shorter ones are not used.
    const MIN_TOKEN_CHARS: usize = 16;
    let shown = text.to_string_lossy();
    let is_random = || {
        let bytes = text.as_bytes();
        bytes.len() >= MIN_TOKEN_CHARS && !bytes.contains(&b'/') && !is_file_name(bytes)
    };
    shown.starts_with("svctok-")
        || (shown.starts_with("gt-") && shown.contains('.'))
        || (is_random() && Path::new(text).symlink_metadata().is_err())
}

pub(super) fn public(variables: &str, expected: &str) -> Why {
    let advice = "or use --admin-token-file FILE (- for standard input)";
    Why::Hidden(format!("{expected}command lines are public; set {variables}, {advice}").into())
}

/// `--output` of the verbs that run no command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Json,
}

fn format(text: &OsStr) -> Result<Format, Why> {
    one_of(&[("text", Format::Text), ("json", Format::Json)], text)
}
