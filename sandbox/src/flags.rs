//! The sandbox's flags: for its own command line, its man page and its completions.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, value_parser};

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
                .help("Public JWK that may sign monitoring requests [default: that of a throw-away key]"),
        )
        .arg(
            Arg::new("fault")
                .long("fault")
                .value_name("JSON")
                .help("Misbehave: {\"delay_ms\":0,\"status\":503,\"body\":\"…\",\"header\":[\"Retry-After\",\"1\"],\"times\":1}"),
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
