//! The sandbox's flags: for its own command line, its man page and its completions.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::fault::Fault;
use crate::locate::Version;

/// `monitoring-sandbox`
pub fn command() -> Command {
    Command::new("monitoring-sandbox")
        .about("A stand-in on loopback for Locate, a target server, Gafaelfawr and StackState")
        .version(env!("CARGO_PKG_VERSION"))
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("port")
                .long("port")
                .value_parser(value_parser!(u16))
                .default_value("0")
                .help("Port on 127.0.0.1; 0 is a free one"),
        )
        .arg(
            Arg::new("verify-key")
                .long("verify-key")
                .value_parser(value_parser!(PathBuf))
                .action(ArgAction::Append)
                .help("Public JWK that may sign monitoring requests [default: the public half of a temporary key]"),
        )
        .arg(
            Arg::new("locate-version")
                .long("locate-version")
                .value_parser(["0.17", "0.19"])
                .hide_possible_values(true)
                .default_value("0.19")
                .help("0.17 or 0.19: respond as Locate v0.17.6, or as v0.19.2, which verifies tokens for ndt/ndt7 and wehe/replay only"),
        )
        .arg(
            Arg::new("fault")
                .long("fault")
                .value_name("JSON")
                .value_parser(fault)
                .help("Misbehave: {\"delay_ms\":0,\"status\":503,\"body\":\"…\",\"header\":[\"Retry-After\",\"1\"],\"times\":1,\"only\":\"POST /auth/\",\"after\":false}"),
        )
        .arg(
            Arg::new("until-eof")
                .long("until-eof")
                .action(ArgAction::SetTrue)
                .help("End when standard input is closed"),
        )
        .subcommand(
            Command::new("probe")
                .about("Open the WebSocket of a service URL; succeed if the target accepts its token")
                .arg(Arg::new("url").value_name("URL").help("[default: $SERVICE_URL]")),
        )
}

/// Refuses a fault that is not valid, as a usage error.
fn fault(json: &str) -> Result<String, serde_json::Error> {
    serde_json::from_str::<Fault>(json).map(|_| json.to_owned())
}

/// The value of `--locate-version`.
pub fn locate_version(matches: &ArgMatches) -> Version {
    match matches.get_one::<String>("locate-version").map(String::as_str) {
        Some("0.17") => Version::V017,
        _ => Version::V019,
    }
}
