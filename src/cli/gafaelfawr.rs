//! The flags of `gafaelfawr`, one struct for each verb.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueHint};
use reqwest::Url;

use super::flags::operands;
use super::token::{
    AdminFlags, DEFAULT_LIFETIME, ExecFlags, OutFlags, RotateFlags, limit_of_rotate, public, refused,
    refused_flag, token_file,
};
use super::values::{
    CommaList, Flag as _, Given, Preset, SERVICE, TOKEN, Why, base_url, boolean, filled, given, lifetime,
    list, only, read, text,
};
use crate::issuer::gafaelfawr::{ADMIN_TOKEN, MIN_LIFETIME, URL, is_scope, is_username};

pub(crate) const LIFETIME: Preset<Duration> = Preset { text: DEFAULT_LIFETIME, parse: long_enough };

/// Flags that say how to reach a Phalanx environment.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = SERVICE, args = refused(token))]
pub(crate) struct GafaelfawrFlags {
    /// Base URL of the environment, for example https://data.lsst.cloud
    #[arg(long, value_name = "URL", variable(URL), value_parser = given(base_url))]
    pub(crate) url: Option<Given<Url>>,
    /// File with the admin token, - for standard input [default: $GAFAELFAWR_ADMIN_TOKEN]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = read(admin_token_file))]
    pub(crate) admin_token_file: Option<PathBuf>,
}

/// Flags that describe a new token.
#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = TOKEN)]
pub(crate) struct ServiceFlags {
    /// User of the token; the name of a service begins with bot-
    #[arg(long, value_name = "NAME", value_parser = read(bot_username))]
    pub(crate) username: String,
    /// Description of the service
    #[arg(long, value_name = "TEXT", value_parser = read(text))]
    pub(crate) name: Option<String>,
    /// Scopes to grant, for example write:sasquatch
    #[arg(long, value_name = "A,B", value_parser = read(scopes))]
    pub(crate) scopes: CommaList,
}

/// Create a service token and print it once
#[derive(Parser)]
#[command(bin_name = "monitoring-token gafaelfawr create")]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) gafaelfawr: GafaelfawrFlags,
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
    /// Token lifetime such as 12h or 7d, at least 5m
    #[arg(long, value_name = "LIFETIME", default(LIFETIME.text), value_parser = read(LIFETIME.parse), help_heading = TOKEN)]
    pub(crate) lifetime: Option<Duration>,
    /// Create a token that never expires
    #[arg(long, boolean(false), help_heading = TOKEN)]
    pub(crate) no_expiry: Option<bool>,
    #[command(flatten)]
    pub(crate) out: OutFlags,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

/// List the tokens of a user; expired ones are marked
#[derive(Parser)]
#[command(bin_name = "monitoring-token gafaelfawr list")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) gafaelfawr: GafaelfawrFlags,
    /// User of the token; the name of a service begins with bot-
    #[arg(long, value_name = "NAME", value_parser = read(username), help_heading = TOKEN)]
    pub(crate) username: String,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

/// Delete a token
#[derive(Parser)]
#[command(bin_name = "monitoring-token gafaelfawr delete", arg = operands("KEY", "Key of the token: the 22 characters after gt-").num_args(0..=1))]
pub(crate) struct Delete {
    #[command(flatten)]
    pub(crate) gafaelfawr: GafaelfawrFlags,
    /// User of the token; the name of a service begins with bot-
    #[arg(long, value_name = "NAME", value_parser = read(username), help_heading = TOKEN)]
    pub(crate) username: String,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

/// Run COMMAND with a service token that is deleted afterwards
#[derive(Parser)]
#[command(bin_name = "monitoring-token gafaelfawr exec")]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) gafaelfawr: GafaelfawrFlags,
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
    #[command(flatten)]
    pub(crate) run: ExecFlags,
}

/// Keep a working token in FILE: replace it before it expires, then delete it
#[derive(Parser)]
#[command(
    bin_name = "monitoring-token gafaelfawr rotate",
    mut_arg("timeout", limit_of_rotate),
    arg = refused_flag("no-expiry", expiring).boolean(false).value_parser(read(expiring))
)]
pub(crate) struct Rotate {
    #[command(flatten)]
    pub(crate) gafaelfawr: GafaelfawrFlags,
    #[command(flatten)]
    pub(crate) rotation: RotateFlags,
    #[command(flatten)]
    pub(crate) service: ServiceFlags,
    #[command(flatten)]
    pub(crate) admin: AdminFlags,
}

fn expiring(text: &OsStr) -> Result<(), Why> {
    let why = "a token that is rotated must expire; use --lifetime";
    if boolean(text)? { Err(Why::Hidden(why.into())) } else { Ok(()) }
}

fn token(_: &OsStr) -> Result<(), Why> {
    Err(public(ADMIN_TOKEN, ""))
}

fn admin_token_file(text: &OsStr) -> Result<PathBuf, Why> {
    token_file(text, ADMIN_TOKEN)
}

fn username(text: &OsStr) -> Result<String, Why> {
    let name = filled(text)?;
    let why = "not a valid username: expected at most 64 lowercase letters, digits and single dashes";
    only(name.to_owned(), is_username(name), why)
}

fn bot_username(text: &OsStr) -> Result<String, Why> {
    let name = filled(text)?;
    only(name, name.starts_with("bot-"), "the name of a service must begin with bot-")?;
    username(text)
}

fn scopes(text: &OsStr) -> Result<CommaList, Why> {
    let CommaList(mut scopes) = list(text)?;
    scopes.sort_unstable();
    scopes.dedup();
    let are_scopes = !scopes.is_empty() && scopes.iter().all(|scope| is_scope(scope));
    only(CommaList(scopes), are_scopes, "not a list of scopes such as write:sasquatch,read:tap")
}

fn long_enough(text: &OsStr) -> Result<Duration, Why> {
    let lifetime = lifetime(text)?;
    only(lifetime, lifetime >= MIN_LIFETIME, "Gafaelfawr requires at least 5m")
}
