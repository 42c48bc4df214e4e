//! The subcommands with verbs, and the list of all commands.

use std::ffi::OsStr;

use clap::{Command, ValueEnum};

use super::flags::{CheckFlags, ExplainFlags, GenerateFlags, InspectFlags, MainFlags, PublicFlags};
use super::parse::{command, finished};
use super::values::{described, or};
use super::{gafaelfawr, stackstate};
use crate::failure::brief;

pub(crate) trait Verb: ValueEnum + 'static {
    const SUBCOMMAND: &'static str;
    const ABOUT: &'static str;

    fn command(&self) -> Command;

    fn names() -> Vec<String> {
        let values = Self::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect()
    }

    fn expected() -> String {
        format!("{} {}", Self::SUBCOMMAND, or(&Self::names()))
    }

    /// The part of an unknown verb that a message shows. It may be a token, so by default nothing is shown.
    fn shown(_: &OsStr) -> String {
        String::new()
    }

    fn subcommand() -> Command {
        let program = format!("monitoring-token {}", Self::SUBCOMMAND);
        finished(Command::new(Self::SUBCOMMAND), &program)
            .about(Self::ABOUT)
            .override_usage(format!("{program} {} [flags]", Self::names().join("|")))
            .subcommands(Self::value_variants().iter().map(Verb::command))
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KeyVerb {
    Generate,
    Public,
    Inspect,
}

impl Verb for KeyVerb {
    const SUBCOMMAND: &'static str = "key";
    const ABOUT: &'static str = "Make and inspect the keys that sign monitoring requests";

    fn command(&self) -> Command {
        match self {
            KeyVerb::Generate => command::<GenerateFlags>(),
            KeyVerb::Public => command::<PublicFlags>(),
            KeyVerb::Inspect => command::<InspectFlags>(),
        }
    }

    fn expected() -> String {
        or(&Self::names().iter().map(|name| format!("key {name}")).collect::<Vec<_>>())
    }

    fn shown(word: &OsStr) -> String {
        brief(word) + "; "
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum GafaelfawrVerb {
    Create,
    List,
    Delete,
    Exec,
    Rotate,
}

impl Verb for GafaelfawrVerb {
    const SUBCOMMAND: &'static str = "gafaelfawr";
    const ABOUT: &'static str = "Service tokens of a Rubin Phalanx environment";

    fn command(&self) -> Command {
        match self {
            GafaelfawrVerb::Create => command::<gafaelfawr::Create>(),
            GafaelfawrVerb::List => command::<gafaelfawr::List>(),
            GafaelfawrVerb::Delete => command::<gafaelfawr::Delete>(),
            GafaelfawrVerb::Exec => command::<gafaelfawr::Exec>(),
            GafaelfawrVerb::Rotate => command::<gafaelfawr::Rotate>(),
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum StackStateVerb {
    Create,
    List,
    Delete,
    Bootstrap,
    Exec,
    Rotate,
}

impl Verb for StackStateVerb {
    const SUBCOMMAND: &'static str = "stackstate";
    const ABOUT: &'static str = "Service tokens of StackState (Rancher Observability, SUSE Observability)";

    fn command(&self) -> Command {
        match self {
            StackStateVerb::Create => command::<stackstate::Create>(),
            StackStateVerb::List => command::<stackstate::List>(),
            StackStateVerb::Delete => command::<stackstate::Delete>(),
            StackStateVerb::Bootstrap => command::<stackstate::Bootstrap>(),
            StackStateVerb::Exec => command::<stackstate::Exec>(),
            StackStateVerb::Rotate => command::<stackstate::Rotate>(),
        }
    }
}

/// The subcommands of `monitoring-token` with their verbs, for man pages, completions and documentation tests.
pub fn subcommands() -> Vec<Command> {
    described(|| {
        vec![
            command::<CheckFlags>(),
            command::<ExplainFlags>(),
            KeyVerb::subcommand(),
            GafaelfawrVerb::subcommand(),
            StackStateVerb::subcommand(),
        ]
    })
}

/// `monitoring-token` without its subcommands.
pub fn main_command() -> Command {
    described(command::<MainFlags>)
}

/// `monitoring-token` with all its subcommands.
pub fn full_command() -> Command {
    main_command().subcommands(subcommands())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definitions_are_sound() {
        super::full_command().debug_assert();
    }
}
