//! The flags of `stackstate`, one struct for each verb: the vocabulary of `sts`.

use std::ffi::OsStr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Arg, Args, Parser, ValueHint};
use reqwest::Url;

use super::flags::{log_flags, operands};
use super::syntax::{DEBUG_FLAG, STS_FLAG, VERBOSE_FLAG};
use super::token::{
    AdminFlags, DEFAULT_LIFETIME, ExecFlags, OutFlags, RotateFlags, SHOW_STEPS, limit_of_rotate, public,
    refused, refused_flag, token_file,
};
use super::values::{
    CommaList, Flag as _, Given, Preset, SERVICE, STS, TOKEN, Why, base_url, boolean, filled, given, line,
    list, one_of, only, parse_lifetime, path, read, text,
};
use crate::date::millis_of_day;
use crate::failure::or_list;
use crate::issuer::stackstate::{API_PATH, CREDENTIALS, DEFAULT_API_PATH, SKIP_SSL, URL};

pub(crate) const TTL: Preset<String> = Preset { text: DEFAULT_LIFETIME, parse: ttl };
pub(crate) const PRINT: Preset<Printed> = Preset { text: "both", parse: printed };
pub(crate) const NAME: Preset<String> = Preset { text: "monitoring-token", parse: text };

/// Flags that say how to reach an installation; a context of `sts` can supply the rest.
#[derive(Args)]
#[group(skip)]
#[command(args = refused(token))]
pub(crate) struct StackStateFlags {
    /// Base URL of the installation
    #[arg(long, value_name = "URL", variable(URL), value_parser = given(base_url), help_heading = SERVICE)]
    pub(crate) url: Option<Given<Url>>,
    /// Path of the API below the URL
    #[arg(long, value_name = "PATH", variable(API_PATH), default(DEFAULT_API_PATH), value_parser = read(api_path), help_heading = SERVICE)]
    pub(crate) api_path: Option<String>,
    /// File with an API token or a service token, - for standard input [default: $STS_CLI_API_TOKEN, $STS_CLI_SERVICE_TOKEN or $STS_CLI_K8S_SA_TOKEN, or the token of the context]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(admin_token_file), help_heading = SERVICE)]
    pub(crate) admin_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sts: StsFlags,
}

/// The flags that `sts` has on every command.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = STS, args = without_value())]
pub(crate) struct StsFlags {
    /// Context of sts to use [default: its current context]
    #[arg(long, short = 'c', value_name = "NAME", variable("STS_CLI_CONTEXT"), value_parser = read(text))]
    pub(crate) context: Option<String>,
    /// Configuration file of sts [default: ~/.config/stackstate-cli/config.yaml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) config: Option<PathBuf>,
    /// Same as -ca-file
    #[arg(long, value_name = "FILE", variable("STS_CA_CERT_PATH"), value_hint = ValueHint::FilePath, value_parser = read(path))]
    pub(crate) ca_cert_path: Option<PathBuf>,
    /// Same as -ca-file, with the PEM file in base64
    #[arg(long, value_name = "BASE64", variable("STS_CA_CERT_BASE64_DATA"), value_parser = given(base64_pem))]
    pub(crate) ca_cert_base64_data: Option<Given<Vec<u8>>>,
}

/// Flags that describe a new token.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = TOKEN)]
pub(crate) struct SubjectFlags {
    /// Roles of the token; may be repeated, and quoted as in CSV
    #[arg(long, value_name = "A,B", value_parser = read(roles))]
    pub(crate) roles: Vec<CommaList>,
    /// Subject to create for this token alone, deleted with it
    #[arg(long, visible_alias = "dedicatedSubject", value_name = "NAME", value_parser = read(subject))]
    pub(crate) dedicated_subject: Option<String>,
}

/// Create a service token and print it once
#[derive(Parser)]
#[command(bin_name = "monitoring-token stackstate create")]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) stackstate: StackStateFlags,
    /// Name of the token
    #[arg(long, short = 'n', value_name = "NAME", value_parser = read(text), help_heading = TOKEN)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) subject: SubjectFlags,
    /// Day on which the token expires [default: never]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = read(day), help_heading = TOKEN)]
    pub(crate) expiration: Option<i64>,
    #[command(flatten)]
    pub(crate) out: OutFlags,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

/// List the service tokens
#[derive(Parser)]
#[command(bin_name = "monitoring-token stackstate list")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) stackstate: StackStateFlags,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

/// Delete a service token
#[derive(Parser)]
#[command(
    bin_name = "monitoring-token stackstate delete",
    override_usage = "monitoring-token stackstate delete [flags] ID\n       \
        monitoring-token stackstate delete --name NAME [flags]",
    arg = operands("ID", "ID of the token").num_args(0..=1)
)]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) stackstate: StackStateFlags,
    /// ID of the token
    #[arg(long, short = 'i', value_name = "ID", value_parser = read(id), help_heading = TOKEN)]
    pub(crate) id: Option<i64>,
    /// Name of the token, if only one token has it
    #[arg(long, short = 'n', value_name = "NAME", value_parser = read(text), help_heading = TOKEN)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

/// Print the Helm values for a bootstrap token, with a new random token
#[derive(Parser)]
#[command(
    bin_name = "monitoring-token stackstate bootstrap",
    args = log_flags(),
    mut_arg(DEBUG_FLAG, |debug| debug.help(SHOW_STEPS))
)]
pub(crate) struct Bootstrap {
    #[command(flatten)]
    pub(crate) subject: SubjectFlags,
    /// Token lifetime such as 12h or 7d
    #[arg(long, value_name = "TTL", default(TTL.text), value_parser = read(TTL.parse), help_heading = TOKEN)]
    pub(crate) ttl: Option<String>,
    /// Read the token from FILE, - for standard input; if FILE does not exist, write the new token to it (0600)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(path), help_heading = TOKEN)]
    pub(crate) token_file: Option<PathBuf>,
    /// Keep the token in the Kubernetes Secret NAME: print the Secret and the values that refer to it
    #[arg(long, value_name = "NAME", value_parser = read(kubernetes_name), help_heading = TOKEN)]
    pub(crate) external_secret: Option<String>,
    /// With --external-secret: both, secret or values
    #[arg(long, value_name = "WHAT", default(PRINT.text), value_parser = read(PRINT.parse), help_heading = TOKEN)]
    pub(crate) print: Option<Printed>,
}

/// Run COMMAND with a service token that is deleted afterwards
#[derive(Parser)]
#[command(bin_name = "monitoring-token stackstate exec")]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) stackstate: StackStateFlags,
    /// Prefix of the token's name
    #[arg(long, short = 'n', value_name = "NAME", default(NAME.text), value_parser = read(NAME.parse), help_heading = TOKEN)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) subject: SubjectFlags,
    #[command(flatten)]
    pub(crate) run: ExecFlags,
}

/// Keep a working token in FILE: replace it before it expires, then delete it
#[derive(Parser)]
#[command(bin_name = "monitoring-token stackstate rotate", mut_arg("timeout", limit_of_rotate))]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) stackstate: StackStateFlags,
    #[command(flatten)]
    pub(crate) rotation: RotateFlags,
    /// Prefix of the token's name
    #[arg(long, short = 'n', value_name = "NAME", value_parser = read(text), help_heading = TOKEN)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) subject: SubjectFlags,
    /// Day on which the token expires, instead of --lifetime
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = read(day), help_heading = TOKEN)]
    pub(crate) expiration: Option<i64>,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

fn token(_: &OsStr) -> Result<(), Why> {
    Err(public(&or_list(&CREDENTIALS), ""))
}

fn admin_token_file(text: &OsStr) -> Result<PathBuf, Why> {
    token_file(text, &or_list(&CREDENTIALS))
}

/// Flags of `sts` that only the parser reads, that have no effect here, or that monitoring-token refuses.
fn without_value() -> [Arg; 4] {
    [
        Arg::new(VERBOSE_FLAG)
            .long(VERBOSE_FLAG)
            .short('v')
            .help("Same as -logx.debug")
            .boolean(false)
            .value_parser(read(verbosity)),
        Arg::new(STS_FLAG).long(STS_FLAG).help("Accepted; the output has no colors").boolean(false),
        refused_flag("skip-ssl", skip_ssl).boolean(false).value_parser(read(skip_ssl)).variable(SKIP_SSL),
        refused_flag("k8s-sa-token-path", ignored_by_sts),
    ]
}

/// For `sts`, it is a number.
fn verbosity(text: &OsStr) -> Result<bool, Why> {
    let number = text.to_str().and_then(|text| text.parse::<u32>().ok());
    number.map_or_else(|| boolean(text), |number| Ok(number > 0))
}

fn skip_ssl(text: &OsStr) -> Result<(), Why> {
    let why = "certificates are always verified; remove this flag or variable, and trust the server's CA with --ca-cert-path or -ca-file";
    if boolean(text)? { Err(Why::Hidden(why.into())) } else { Ok(()) }
}

fn ignored_by_sts(_: &OsStr) -> Result<(), Why> {
    Err(Why::Hidden("sts 3.3.6 ignores this flag; use --admin-token-file FILE".into()))
}

fn roles(text: &OsStr) -> Result<CommaList, Why> {
    let CommaList(roles) = list(text)?;
    let is_text = !roles.iter().any(|role| role.chars().any(char::is_control));
    only(CommaList(roles), is_text, "a role must not contain control characters")
}

/// An empty value means none, as in `sts`.
fn subject(text: &OsStr) -> Result<String, Why> {
    line(text).map(str::to_owned)
}

fn api_path(text: &OsStr) -> Result<String, Why> {
    let path = filled(text)?;
    only(path.to_owned(), is_api_path(path), "expected a path such as /api")
}

/// The slash at the beginning may be missing, as for `sts`.
pub(crate) fn is_api_path(path: &str) -> bool {
    !path.contains("://") && !path.contains(['?', '#'])
}

fn base64_pem(text: &OsStr) -> Result<Vec<u8>, Why> {
    STANDARD
        .decode(filled(text)?.trim())
        .map_err(|_| Why::Hidden("the CA certificate is not valid base64".into()))
}

/// A day, as the Unix milliseconds of its beginning.
fn day(text: &OsStr) -> Result<i64, Why> {
    millis_of_day(filled(text)?.trim()).ok_or("not a valid date: expected YYYY-MM-DD".into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Printed {
    Both,
    Secret,
    Values,
}

fn printed(text: &OsStr) -> Result<Printed, Why> {
    one_of(&[("both", Printed::Both), ("secret", Printed::Secret), ("values", Printed::Values)], text)
}

fn id(text: &OsStr) -> Result<i64, Why> {
    let why = "expected the ID of a token, a decimal number as shown by stackstate list";
    parse_id(filled(text)?).ok_or(Why::Hidden(why.into()))
}

/// `sts` reads 010 as octal and 0x10 as hexadecimal.
pub(crate) fn parse_id(text: &str) -> Option<i64> {
    let is_decimal = !text.trim_start_matches(['+', '-']).starts_with('0') || text == "0";
    text.parse().ok().filter(|_| is_decimal)
}

/// A lifetime in the server's format (HOCON): one number and one unit.
fn ttl(text: &OsStr) -> Result<String, Why> {
    parse_ttl(filled(text)?).ok_or("not a valid lifetime: expected for example 24h, 90m or 7d".into())
}

fn parse_ttl(text: &str) -> Option<String> {
    let lifetime = parse_lifetime(text)?;
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let is_number = number.starts_with(|c: char| c.is_ascii_digit()) && !number.ends_with('.');
    if is_number && UNITS.iter().any(|(_, known)| *known == unit) {
        return Some(text.to_owned());
    }
    let nanos = lifetime.as_nanos();
    let (size, unit) = UNITS.into_iter().find(|(size, _)| nanos.is_multiple_of(*size))?;
    Some(format!("{}{unit}", nanos / size))
}

/// In nanoseconds, the largest first. Days are kept as given; hours are not turned into days.
const UNITS: [(u128, &str); 7] = [
    (u128::MAX, "d"),
    (3_600_000_000_000, "h"),
    (60_000_000_000, "m"),
    (1_000_000_000, "s"),
    (1_000_000, "ms"),
    (1_000, "us"),
    (1, "ns"),
];

fn kubernetes_name(text: &OsStr) -> Result<String, Why> {
    let name = filled(text)?;
    only(name.to_owned(), is_kubernetes_name(name), "not a valid name of a Kubernetes object")
}

/// A DNS subdomain (RFC 1123).
fn is_kubernetes_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            let bytes = label.as_bytes();
            bytes.iter().all(|&b| inner(b) || b == b'-')
                && bytes.first().is_some_and(|&b| inner(b))
                && bytes.last().is_some_and(|&b| inner(b))
        })
}
