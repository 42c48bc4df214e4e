//! The flags of `gafaelfawr` and `stackstate`: each issuer's own vocabulary, one verb a subcommand.

use clap::{Arg, Command, ValueHint};

use super::flags::{boolean, command, command_operands, exec_args, http_args, log_args, run_args, value};

// The headings of the flags that the documentation writes with two dashes.
pub(super) const SERVICE: &str = "Service";
pub(super) const TOKEN: &str = "Token";
pub(super) const STS: &str = "Flags of sts";
/// The flag that switches the diagnostics on in `sts`.
pub const VERBOSE: &str = "verbose";
/// A flag that only commands have that stand in for `sts`.
pub const STS_FLAG: &str = "no-color";

/// Flags that would put a token on the command line, where everybody can read it. They exist to be
/// refused with advice (see [`crate::config::credential`]).
pub const REFUSED: [&str; 5] = ["admin-token", "api-token", "k8s-sa-token", "service-token", "token"];

/// `monitoring-token gafaelfawr ...`
pub fn gafaelfawr_command() -> Command {
    command("gafaelfawr", "Service tokens of a Rubin Phalanx environment")
        .bin_name("monitoring-token gafaelfawr")
        .override_usage("monitoring-token gafaelfawr create|list|delete|exec|rotate [flags]")
        .subcommand(
            gafaelfawr_verb("create", "Create a service token and print it once")
                .args(gafaelfawr_token())
                .arg(value("lifetime", "LIFETIME", "Token lifetime such as 12h or 7d, at least 5m [default: 24h]").help_heading(TOKEN))
                .arg(boolean("no-expiry", "Create a token that never expires").help_heading(TOKEN))
                .arg(out())
                .arg(format())
                .args(administration()),
        )
        .subcommand(
            gafaelfawr_verb("list", "List the tokens of a user; expired ones are marked")
                .arg(username())
                .arg(format())
                .args(administration()),
        )
        .subcommand(
            gafaelfawr_verb("delete", "Delete a token")
                .arg(username())
                .arg(format())
                .args(administration())
                .arg(operand("KEY", "Key of the token: the 22 characters after gt-")),
        )
        .subcommand(
            gafaelfawr_verb("exec", "Run COMMAND with a service token that is deleted afterwards")
                .override_usage(
                    "monitoring-token gafaelfawr exec --username bot-NAME --scopes A,B [flags] -- COMMAND [ARG...]",
                )
                .args(gafaelfawr_token())
                .arg(env_name())
                .args(http_args())
                .args(exec_args())
                .args(log_args())
                .arg(command_operands()),
        )
        .subcommand(
            gafaelfawr_verb("rotate", "Keep a working token in FILE: replace it before it expires, then delete it")
                .override_usage(
                    "monitoring-token gafaelfawr rotate --token-file FILE --username bot-NAME --scopes A,B [flags]",
                )
                .args(rotation())
                .args(gafaelfawr_token())
                .arg(rotated_lifetime())
                .arg(boolean("no-expiry", "Refused: a token that is rotated expires").hide(true).help_heading(TOKEN))
                .arg(format())
                .args(administration())
                .args(metrics_args()),
        )
}

/// `monitoring-token stackstate ...`
pub fn stackstate_command() -> Command {
    command("stackstate", "Service tokens of StackState (Rancher Observability, SUSE Observability)")
        .bin_name("monitoring-token stackstate")
        .override_usage("monitoring-token stackstate create|list|delete|bootstrap|exec|rotate [flags]")
        .subcommand(
            stackstate_verb("create", "Create a service token and print it once")
                .arg(value("name", "NAME", "Name of the token").short('n').help_heading(TOKEN))
                .args(stackstate_token())
                .arg(value("expiration", "YYYY-MM-DD", "Day on which the token expires [default: never]").help_heading(TOKEN))
                .arg(out())
                .arg(format())
                .args(administration()),
        )
        .subcommand(stackstate_verb("list", "List the service tokens").arg(format()).args(administration()))
        .subcommand(
            stackstate_verb("delete", "Delete a service token")
                .arg(value("id", "ID", "ID of the token").short('i').help_heading(TOKEN))
                .arg(
                    value("name", "NAME", "Name of the token, if only one token has it")
                        .short('n')
                        .help_heading(TOKEN),
                )
                .arg(format())
                .args(administration())
                .arg(operand("ID", "ID of the token")),
        )
        .subcommand(
            command("bootstrap", "Print the Helm values for a bootstrap token, with a new random token")
                .bin_name("monitoring-token stackstate bootstrap")
                .arg(roles())
                .arg(dedicated_subject())
                .arg(value("ttl", "TTL", "Token lifetime such as 12h or 7d [default: 24h]").help_heading(TOKEN))
                .arg(
                    value(
                        "token-file",
                        "FILE",
                        "Read the token from FILE, - for standard input; if FILE does not exist, write the new token to it (0600)",
                    )
                    .value_hint(ValueHint::FilePath)
                    .help_heading(TOKEN),
                )
                .arg(value(
                    "external-secret",
                    "NAME",
                    "Keep the token in the Kubernetes Secret NAME: print the Secret and the values that refer to it",
                ).help_heading(TOKEN))
                .arg(value(
                    "print",
                    "WHAT",
                    "With --external-secret: both, secret or values [default: both]",
                ).help_heading(TOKEN))
                .args(log_args()),
        )
        .subcommand(
            stackstate_verb("exec", "Run COMMAND with a service token that is deleted afterwards")
                .override_usage("monitoring-token stackstate exec --roles A,B [flags] -- COMMAND [ARG...]")
                .arg(
                    value("name", "NAME", "Prefix of the token's name [default: monitoring-token]")
                        .short('n')
                        .help_heading(TOKEN),
                )
                .args(stackstate_token())
                .arg(env_name())
                .args(http_args())
                .args(exec_args())
                .args(log_args())
                .arg(command_operands()),
        )
        .subcommand(
            stackstate_verb("rotate", "Keep a working token in FILE: replace it before it expires, then delete it")
                .override_usage(
                    "monitoring-token stackstate rotate --token-file FILE --name NAME --roles A,B [flags]",
                )
                .args(rotation())
                .arg(
                    value("name", "NAME", "Prefix of the token's name")
                        .short('n')
                        .help_heading(TOKEN),
                )
                .args(stackstate_token())
                .arg(rotated_lifetime())
                .arg(
                    value("expiration", "YYYY-MM-DD", "Day on which the token expires, instead of --lifetime")
                        .help_heading(TOKEN),
                )
                .arg(format())
                .args(administration())
                .args(metrics_args()),
        )
}

fn gafaelfawr_verb(name: &'static str, about: &'static str) -> Command {
    command(name, about)
        .bin_name(format!("monitoring-token gafaelfawr {name}"))
        .arg(
            value("url", "URL", "Base URL of the environment, for example https://data.lsst.cloud")
                .env("GAFAELFAWR_URL")
                .hide_env_values(true)
                .help_heading(SERVICE),
        )
        .arg(token_file("File with the admin token, - for standard input [default: $GAFAELFAWR_ADMIN_TOKEN]"))
        .args(refused())
}

fn stackstate_verb(name: &'static str, about: &'static str) -> Command {
    command(name, about)
        .bin_name(format!("monitoring-token stackstate {name}"))
        .arg(
            value("url", "URL", "Base URL of the installation")
                .env("STS_CLI_URL")
                .hide_env_values(true)
                .help_heading(SERVICE),
        )
        .arg(
            value("api-path", "PATH", "Path of the API below the URL [default: /api]")
                .env("STS_CLI_API_PATH")
                .hide_env_values(true)
                .help_heading(SERVICE),
        )
        .arg(token_file(
            "File with an API token or a service token, - for standard input [default: $STS_CLI_API_TOKEN, $STS_CLI_SERVICE_TOKEN or $STS_CLI_K8S_SA_TOKEN, or the token of the context]",
        ))
        .args(refused())
        .args(sts_args())
}

fn token_file(help: &'static str) -> Arg {
    value("admin-token-file", "FILE", help).value_hint(ValueHint::FilePath).help_heading(SERVICE)
}

fn refused() -> impl Iterator<Item = Arg> {
    REFUSED.into_iter().map(|name| value(name, "TOKEN", "Refused: command lines are public").hide(true))
}

fn username() -> Arg {
    value("username", "NAME", "User of the token; the name of a service begins with bot-").help_heading(TOKEN)
}

fn gafaelfawr_token() -> [Arg; 3] {
    [
        username(),
        value("name", "TEXT", "Description of the service").help_heading(TOKEN),
        value("scopes", "A,B", "Scopes to grant, for example write:sasquatch").help_heading(TOKEN),
    ]
}

fn roles() -> Arg {
    value("roles", "A,B", "Roles of the token; may be repeated, and quoted as in CSV")
        .action(clap::ArgAction::Append)
        .help_heading(TOKEN)
}

fn dedicated_subject() -> Arg {
    value("dedicated-subject", "NAME", "Subject to create for this token alone, deleted with it")
        .visible_alias("dedicatedSubject")
        .help_heading(TOKEN)
}

fn stackstate_token() -> [Arg; 2] {
    [roles(), dedicated_subject()]
}

/// The flags that `sts` has on every command. `--skip-ssl` and `--k8s-sa-token-path` exist to be refused with
/// the reason (see [`crate::config::stackstate`]).
fn sts_args() -> [Arg; 8] {
    [
        value("context", "NAME", "Context of sts to use [default: its current context]")
            .short('c')
            .env("STS_CLI_CONTEXT"),
        value("config", "FILE", "Configuration file of sts [default: ~/.config/stackstate-cli/config.yaml]")
            .value_hint(ValueHint::FilePath),
        value("ca-cert-path", "FILE", "Same as -ca-file")
            .env("STS_CA_CERT_PATH")
            .value_hint(ValueHint::FilePath),
        value("ca-cert-base64-data", "BASE64", "Same as -ca-file, with the PEM file in base64")
            .env("STS_CA_CERT_BASE64_DATA"),
        boolean(VERBOSE, "Same as -logx.debug").short('v'),
        boolean(STS_FLAG, "Accepted; the output has no colors"),
        boolean("skip-ssl", "Refused: certificates are always verified").env("STS_SKIP_SSL").hide(true),
        value("k8s-sa-token-path", "FILE", "Refused: use --admin-token-file").hide(true),
    ]
    .map(|arg| arg.hide_env_values(true).help_heading(STS))
}

/// What makes a `rotate`.
fn rotation() -> [Arg; 3] {
    [
        value("token-file", "FILE", "File that holds the token; FILE.lock and FILE.state are kept beside it")
            .value_hint(ValueHint::FilePath),
        value(
            "renew-before",
            "LIFETIME",
            "Replace a token that expires sooner than this [default: a third of the lifetime]",
        ),
        boolean("keep-old", "Leave the old token to expire instead of deleting it"),
    ]
    .map(|arg| arg.help_heading(TOKEN))
}

fn rotated_lifetime() -> Arg {
    value("lifetime", "LIFETIME", "Token lifetime such as 12h or 7d, at least 5m [default: 24h]")
        .help_heading(TOKEN)
}

fn metrics_args() -> impl Iterator<Item = Arg> {
    run_args().into_iter().filter(|arg| arg.get_id().as_str().starts_with("metrics-"))
}

fn out() -> Arg {
    value("out", "FILE", "Write the token to FILE (0600, never overwritten) instead of stdout")
        .value_hint(ValueHint::FilePath)
        .help_heading(TOKEN)
}

/// Not on `exec`: there, `-output` says where the command's output goes.
fn format() -> Arg {
    value(
        "output",
        "FORMAT",
        "Output format: text or json; on exec, --output is where the command's output goes [default: text]",
    )
    .short('o')
}

fn env_name() -> Arg {
    value("env-name", "NAME", "Environment variable that receives the token [default: SERVICE_TOKEN]")
        .help_heading(TOKEN)
}

/// The rest of the flags of every verb but `exec`.
fn administration() -> Vec<Arg> {
    let timeout = run_args().into_iter().filter(|arg| arg.get_id() == "timeout");
    let timeout = timeout.map(|arg| arg.help("Limit for the request [default: 60s]").help_heading(SERVICE));
    http_args().into_iter().chain(timeout).chain(log_args()).collect()
}

fn operand(name: &'static str, help: &'static str) -> Arg {
    Arg::new("operand")
        .value_name(name)
        .help(help)
        .num_args(0..)
        .value_parser(clap::value_parser!(std::ffi::OsString))
}
