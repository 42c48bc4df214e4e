//! The flags of `gafaelfawr` and `stackstate`: each issuer's own vocabulary, one verb a subcommand.

use clap::{Arg, Command, ValueHint};

use super::flags::{boolean, command, command_operands, duration, http_args, log_args, run_args, value};

const SERVICE: &str = "Service";
const TOKEN: &str = "Token";

/// Flags that would put a token on the command line, where everybody can read it. They exist to be
/// refused with advice (see [`crate::config::credential`]).
pub const REFUSED: [&str; 4] = ["admin-token", "api-token", "service-token", "token"];

/// `monitoring-token gafaelfawr ...`
pub fn gafaelfawr_command() -> Command {
    command("gafaelfawr", "Service tokens of a Rubin Phalanx environment")
        .bin_name("monitoring-token gafaelfawr")
        .override_usage("monitoring-token gafaelfawr create|list|delete|exec [flags]")
        .subcommand(
            gafaelfawr_verb("create", "Create a service token and print it, once")
                .args(gafaelfawr_token())
                .arg(duration("lifetime", "How long it lives, at least 5m [default: 24h]"))
                .arg(boolean("no-expiry", "It lives until it is deleted"))
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
                .arg(operand("KEY", "The token's key: the 22 characters after gt-")),
        )
        .subcommand(
            gafaelfawr_verb("exec", "Run COMMAND with a service token that is deleted afterwards")
                .override_usage(
                    "monitoring-token gafaelfawr exec --username bot-NAME --scopes A,B [flags] -- COMMAND [ARG...]",
                )
                .args(gafaelfawr_token())
                .arg(env_name())
                .args(http_args())
                .args(run_args())
                .args(log_args())
                .arg(command_operands()),
        )
}

/// `monitoring-token stackstate ...`
pub fn stackstate_command() -> Command {
    command("stackstate", "Service tokens of StackState (Rancher Observability, SUSE Observability)")
        .bin_name("monitoring-token stackstate")
        .override_usage("monitoring-token stackstate create|list|delete|bootstrap|exec [flags]")
        .subcommand(
            stackstate_verb("create", "Create a service token and print it, once")
                .arg(value("name", "NAME", "Name of the token").short('n').help_heading(TOKEN))
                .args(stackstate_token())
                .arg(value("expiration", "YYYY-MM-DD", "Day on which it expires [default: never]"))
                .arg(out())
                .arg(format())
                .args(administration()),
        )
        .subcommand(stackstate_verb("list", "List the service tokens").arg(format()).args(administration()))
        .subcommand(
            stackstate_verb("delete", "Delete a service token")
                .arg(value("id", "ID", "Id of the token").short('i'))
                .arg(format())
                .args(administration())
                .arg(operand("ID", "The same, as a word")),
        )
        .subcommand(
            command("bootstrap", "Print the Helm values of a bootstrap token, made here")
                .bin_name("monitoring-token stackstate bootstrap")
                .arg(roles())
                .arg(value("ttl", "TTL", "How long the token lives, in days, too: 7d [default: 24h]"))
                .arg(
                    value(
                        "token-file",
                        "FILE",
                        "Take the token from FILE; if there is none, keep the new one there (0600)",
                    )
                    .value_hint(ValueHint::FilePath),
                )
                .arg(value("external-secret", "NAME", "Print the Kubernetes Secret NAME instead"))
                .args(log_args()),
        )
        .subcommand(
            stackstate_verb("exec", "Run COMMAND with a service token that is deleted afterwards")
                .override_usage("monitoring-token stackstate exec --roles A,B [flags] -- COMMAND [ARG...]")
                .arg(
                    value("name", "NAME", "Beginning of the token's name [default: monitoring-token]")
                        .short('n')
                        .help_heading(TOKEN),
                )
                .args(stackstate_token())
                .arg(env_name())
                .args(http_args())
                .args(run_args())
                .args(log_args())
                .arg(command_operands()),
        )
}

fn gafaelfawr_verb(name: &'static str, about: &'static str) -> Command {
    command(name, about)
        .bin_name(format!("monitoring-token gafaelfawr {name}"))
        .arg(
            value("url", "URL", "Base URL of the environment, such as https://data.lsst.cloud")
                .env("GAFAELFAWR_URL")
                .hide_env_values(true)
                .help_heading(SERVICE),
        )
        .arg(token_file(
            "File with the admin token, - for standard input [default: the token in $GAFAELFAWR_ADMIN_TOKEN]",
        ))
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
            "File with a person's API token or a service token, - for standard input [default: the token in $STS_CLI_API_TOKEN or $STS_CLI_SERVICE_TOKEN]",
        ))
        .args(refused())
}

fn token_file(help: &'static str) -> Arg {
    value("admin-token-file", "FILE", help).value_hint(ValueHint::FilePath).help_heading(SERVICE)
}

fn refused() -> impl Iterator<Item = Arg> {
    REFUSED.into_iter().map(|name| value(name, "TOKEN", "Refused: command lines are public").hide(true))
}

fn username() -> Arg {
    value("username", "NAME", "User of the token; a service's begins with bot-").help_heading(TOKEN)
}

fn gafaelfawr_token() -> [Arg; 3] {
    [
        username(),
        value("name", "TEXT", "What the service is, for people").help_heading(TOKEN),
        value("scopes", "A,B", "What the token is good for, such as write:sasquatch").help_heading(TOKEN),
    ]
}

fn roles() -> Arg {
    value("roles", "A,B", "Roles of the token; may be repeated")
        .action(clap::ArgAction::Append)
        .help_heading(TOKEN)
}

fn stackstate_token() -> [Arg; 2] {
    [roles(), value("dedicated-subject", "NAME", "Subject that is made for the token").help_heading(TOKEN)]
}

fn out() -> Arg {
    value("out", "FILE", "Write the token to FILE (0600, never overwritten) instead of stdout")
        .value_hint(ValueHint::FilePath)
}

/// Not on `exec`: there, `-output` says where the command's output goes.
fn format() -> Arg {
    value("output", "FORMAT", "text or json [default: text]").short('o')
}

fn env_name() -> Arg {
    value("env-name", "NAME", "Variable that receives the token [default: SERVICE_TOKEN]").help_heading(TOKEN)
}

/// What every verb but `exec` has besides.
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
