//! Every command that there is: for the manual, the completions, and the tests of the documentation.
//! A run does not come here.

use clap::Command;

use super::{flags, tokens};

/// The subcommands of `monitoring-token`, each with its verbs.
pub fn subcommands() -> Vec<Command> {
    vec![
        flags::check_command(),
        flags::explain_command(),
        flags::key_command(),
        tokens::gafaelfawr_command(),
        tokens::stackstate_command(),
    ]
}

/// `monitoring-token` with all its subcommands.
pub fn whole() -> Command {
    flags::main_command().subcommands(subcommands())
}
